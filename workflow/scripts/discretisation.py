"""Measure the errors of the flows' discretisations."""

import json

from centralflows.flows.device import prepare
from centralflows.jobs.benchmarks.discretisation import measure
from centralflows.jobs.job import job

with job(snakemake) as this:
    prepare("cpu", this.config["threads"])
    this.output("measured").write_text(json.dumps(measure(), indent=2) + "\n")
    this.record("manifest", "measured", threads=this.config["threads"])
