"""Draw one figure from stored trajectories, as SVG and PNG."""

from centralflows.figures.style import save
from centralflows.jobs.drawing import drawn
from centralflows.jobs.job import job

with job(snakemake) as this:
    figure = drawn(this)
    for kind in ("svg", "png"):
        save(figure, this.output(kind), identifier=this.identifier)
    this.record("manifest", "svg", "png")
