"""Write the gallery of a profile, in Markdown and HTML."""

import json

from centralflows.figures.gallery import as_html_page, as_markdown_page
from centralflows.figures.gallery_content import content
from centralflows.jobs.job import job

with job(snakemake) as this:
    card, runs = (json.loads(this.input(name).read_text()) for name in ("card", "runs"))
    shown = content(this.config, card, runs)
    this.output("markdown").write_text(as_markdown_page(shown))
    this.output("html").write_text(as_html_page(shown))
    this.record("manifest", "markdown")
    this.record("html_manifest", "html")
