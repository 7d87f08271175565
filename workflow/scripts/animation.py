"""Draw one figure as a GIF that grows with time."""

from centralflows.figures.animation import animate
from centralflows.jobs.drawing import drawn
from centralflows.jobs.job import job

with job(snakemake) as this:
    figure = drawn(this)
    animate(figure, this.output("gif"), identifier=this.identifier)
    this.record("manifest", "gif")
