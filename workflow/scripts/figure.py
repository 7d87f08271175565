"""Draw one figure from stored trajectories, as SVG and PNG."""

from centralflows.figures import save
from centralflows.figures.stored import drawn
from centralflows.jobs import job

with job(snakemake) as this:
    figure = drawn(this)
    for kind in ("svg", "png"):
        save(figure, this.output(kind), identifier=this.identifier)
    this.seal("seal", "svg", "png")
