"""Describe a finished profile as an RO-Crate, with copies of files outside of its folder."""

import json
from pathlib import Path

from centralflows.jobs.job import job
from centralflows.provenance.crate.copies import copy
from centralflows.provenance.crate.description import metadata
from centralflows.provenance.lineage import intact

with job(snakemake) as this:
    this.input("card")
    links = intact(Path("results"), map(Path, snakemake.input.manifests))
    configfile = Path(this.config["configfile"])
    copy(links, this.output("metadata").parent, configfile)
    crate = metadata(this.config["profile"], links, configfile.name)
    this.output("metadata").write_text(json.dumps(crate, indent=1) + "\n")
    this.record("manifest", "metadata", "copies")
