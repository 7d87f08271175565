"""Draw one figure from stored trajectories, as SVG and PNG."""

from centralflows import figures
from centralflows.catalogue import CATALOGUE
from centralflows.jobs import job
from centralflows.trajectory import open_trajectory

with job(snakemake) as this:
    slug, names = this.config["draw"], this.config["runs"]
    stores = ("discrete", "midpoint", *CATALOGUE[slug].stores)
    runs = {
        run: {store: open_trajectory(this.input(f"{store}_{i}".replace("-", "_"))) for store in stores}
        for i, run in enumerate(names)
    }
    figure = figures.draw(slug, runs, **this.config["options"])
    for kind in ("svg", "png"):
        figures.save(figure, this.output(kind))
    this.seal("seal", "svg", "png")
