"""Draw one figure that moves, as a GIF."""

from centralflows.figures.animation import animate
from centralflows.jobs.job import job
from centralflows.jobs.stored_figure import stored_film

with job(snakemake) as this:
    animate(stored_film(this), this.output("gif"), identifier=this.identifier)
    this.record("manifest", "gif")
