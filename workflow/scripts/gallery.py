"""Write the gallery of a profile."""

import json

from centralflows.gallery import gallery
from centralflows.jobs import job

with job(snakemake) as this:
    card = json.loads(this.input("card").read_text())
    page = gallery(this.config["profile"], this.config["figures"], card, command=this.config["command"])
    this.output("page").write_text(page)
    this.seal("seal", "page")
