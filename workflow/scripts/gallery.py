"""Write the gallery of a profile: every figure with its claim and command, and the scorecard."""

import json

from centralflows.figures.gallery import gallery
from centralflows.jobs.job import job

with job(snakemake) as this:
    card = json.loads(this.input("card").read_text())
    page = gallery(this.config["profile"], this.config["figures"], card, command=this.config["command"])
    this.output("page").write_text(page)
    this.record("manifest", "page")
