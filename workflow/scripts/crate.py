"""Describe a finished profile as an RO-Crate, with copies of what stands elsewhere."""

import json
from pathlib import Path

from centralflows.crate.copies import copy
from centralflows.crate.description import metadata
from centralflows.jobs import job
from centralflows.lineage import intact

with job(snakemake) as this:
    this.input("card")
    links = intact(Path("results"), map(Path, snakemake.input.seals))
    configfile = Path(this.config["configfile"])
    copy(links, this.output("metadata").parent, configfile)
    crate = metadata(this.config["profile"], links, configfile.name)
    this.output("metadata").write_text(json.dumps(crate, indent=1) + "\n")
    this.seal("seal", "metadata", "copies")
