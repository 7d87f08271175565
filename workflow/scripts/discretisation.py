"""Measure the errors of the flows' discretisations."""

import json

from centralflows.discretisation import measure
from centralflows.jobs import job
from centralflows.runtime import prepare

with job(snakemake) as this:
    prepare("cpu", this.config["threads"])
    this.output("measured").write_text(json.dumps(measure(), indent=2) + "\n")
    this.seal("seal", "measured", threads=this.config["threads"])
