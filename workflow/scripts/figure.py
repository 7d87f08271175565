"""Draw one figure from stored trajectories, as SVG and PNG."""

from centralflows.figures.style import save
from centralflows.jobs.job import job
from centralflows.jobs.stored_figure import stored_figure

with job(snakemake) as this:
    figure = stored_figure(this)
    for kind in ("svg", "png"):
        save(figure, this.output(kind), identifier=this.identifier)
    this.record("manifest", "svg", "png")
