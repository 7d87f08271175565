"""Draw one figure from stored trajectories, as SVG and PNG."""

from centralflows import figures
from centralflows.jobs import job
from centralflows.trajectory import open_trajectory

with job(snakemake) as this:
    data = {name: open_trajectory(this.input(name)) for name in (*this.config["processes"], "analysis")}
    figure = figures.draw(this.config["draw"], data, **this.config["options"])
    for kind in ("svg", "png"):
        figures.save(figure, this.output(kind))
    this.seal("seal", "svg", "png")
