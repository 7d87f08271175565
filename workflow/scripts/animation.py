"""Draw one figure as a GIF that grows with time."""

from centralflows.figures.animation import animate
from centralflows.jobs.job import job
from centralflows.jobs.stored_figure import stored_figure

with job(snakemake) as this:
    figure = stored_figure(this)
    animate(figure, this.output("gif"), identifier=this.identifier)
    this.record("manifest", "gif")
