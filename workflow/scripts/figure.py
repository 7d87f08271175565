"""Draw one figure from stored trajectories, as SVG and PNG."""

from centralflows import figures
from centralflows.jobs import job
from centralflows.trajectory import open_trajectory

with job(snakemake) as this:
    stores = [name for name, _ in snakemake.input.items() if not name.endswith("_seal")]
    data = {name: open_trajectory(this.input(name)) for name in stores}
    figure = figures.draw(this.config["draw"], data, **this.config["options"])
    for kind in ("svg", "png"):
        figures.save(figure, this.output(kind))
    this.seal("seal", "svg", "png")
