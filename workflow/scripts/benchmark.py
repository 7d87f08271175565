"""Measure what each process costs, as JSON, table and figure."""

import json

from centralflows.benchmark import measure
from centralflows.benchmark_report import draw, table
from centralflows.figures import save
from centralflows.jobs import job
from centralflows.runtime import prepare

with job(snakemake) as this:
    device = prepare(this.config["device"], this.config["threads"])
    measured = measure(device, log=this.log)
    this.output("measured").write_text(json.dumps(measured, indent=2) + "\n")
    this.output("table").write_text(table(measured) + "\n")
    save(draw(measured), this.output("figure"), identifier=this.identifier)
    this.seal("seal", "measured", "table", "figure", threads=this.config["threads"])
