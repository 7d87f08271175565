"""Draw one figure as a GIF that grows with time."""

from centralflows.figures.animation import animate
from centralflows.figures.stored import drawn
from centralflows.jobs import job

with job(snakemake) as this:
    figure = drawn(this)
    animate(figure, this.output("gif"), identifier=this.identifier)
    this.seal("seal", "gif")
