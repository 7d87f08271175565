"""Measure the paper's claims in all runs of a profile; draw the scorecard."""

import json

from centralflows.analysis.scorecard import scorecard
from centralflows.figures.heat_map import heat_map
from centralflows.figures.style import save
from centralflows.jobs.job import job
from centralflows.store.trajectory import open_trajectory

with job(snakemake) as this:
    runs = {
        run: {store: open_trajectory(this.input(f"{run}/{store}")) for store in stores}
        for run, stores in this.config["stores"].items()
    }
    card = scorecard(runs, *(this.config[key] for key in ("widths", "published", "figures")))
    this.output("card").write_text(json.dumps(card, indent=1) + "\n")
    figure = heat_map(card)
    for kind in ("svg", "png"):
        save(figure, this.output(kind), identifier=this.identifier)
    this.record("manifest", "card")
    this.record("figure_manifest", "svg", "png")
