"""Measure the paper's claims in all runs of a profile."""

import json

from centralflows.figures import save
from centralflows.figures.scorecard import heat_map
from centralflows.jobs import job
from centralflows.scorecard import scorecard
from centralflows.trajectory import open_trajectory

with job(snakemake) as this:
    runs = {
        run: {store: open_trajectory(this.input(f"{run}/{store}")) for store in stores}
        for run, stores in this.config["stores"].items()
    }
    card = scorecard(runs, this.config["widths"], this.config["published"])
    this.output("card").write_text(json.dumps(card, indent=1) + "\n")
    figure = heat_map(card)
    for kind in ("svg", "png"):
        save(figure, this.output(kind), identifier=this.identifier)
    this.seal("seal", "card")
    this.seal("figure_seal", "svg", "png")
