"""Measure the agreement of the flows with the published implementation."""

import json

from centralflows.flows.device import prepare
from centralflows.jobs.benchmarks.agreement import RUNS, differences, ours, published
from centralflows.jobs.job import job

with job(snakemake) as this:
    prepare("cpu", this.config["threads"])
    measured = {}
    for run in RUNS:
        theirs = published(run)
        measured[run] = differences(ours(run, theirs)["central"], theirs)
    this.output("measured").write_text(json.dumps(measured, indent=2) + "\n")
    this.record("manifest", "measured", threads=this.config["threads"])
