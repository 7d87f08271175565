"""Write the explorer of a profile, and what each of its runs is in words."""

import json

from centralflows.figures.explorer import explorer
from centralflows.figures.run_description import described
from centralflows.jobs.job import job
from centralflows.store.trajectory import open_trajectory

with job(snakemake) as this:
    card = json.loads(this.input("card").read_text())
    runs = {
        run: {store: open_trajectory(this.input(f"{run}/{store}")) for store in stores}
        for run, stores in this.config["stores"].items()
    }
    words = {name: described(run) for name, run in runs.items()}
    title, widths = f"the {this.config['profile']} profile", this.config["widths"]
    this.output("page").write_text(explorer(title, runs, widths=widths, card=card, gallery="index.html"))
    this.output("runs").write_text(json.dumps(words, indent=1) + "\n")
    this.record("manifest", "page")
    this.record("runs_manifest", "runs")
