"""Measure the cost of each process; write JSON, table and figure."""

import json

from centralflows.figures.style import save
from centralflows.flows.device import prepare
from centralflows.jobs.benchmarks.cost import measure
from centralflows.jobs.benchmarks.cost_tables import draw, table
from centralflows.jobs.job import job

with job(snakemake) as this:
    device = prepare(this.config["device"], this.config["threads"])
    measured = measure(device, log=this.log)
    this.output("measured").write_text(json.dumps(measured, indent=2) + "\n")
    this.output("table").write_text(table(measured) + "\n")
    save(draw(measured), this.output("figure"), identifier=this.identifier)
    this.record("manifest", "measured", "table", "figure", threads=this.config["threads"])
