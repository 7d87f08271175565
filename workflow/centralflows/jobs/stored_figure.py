"""A figure from the recorded stores of a job."""

from __future__ import annotations

from matplotlib.figure import Figure

from ..config.catalogue import CATALOGUE
from ..figures.drawing import draw
from ..store.trajectory import open_trajectory
from .job import Job


def stored_figure(job: Job) -> Figure:
    """The figure that the job's configuration names, from its inputs, `<run>/<store>` each."""
    slug = job.config["draw"]
    stores = ("discrete", "midpoint", *CATALOGUE[slug].stores)
    runs = {
        run: {store: open_trajectory(job.input(f"{run}/{store}")) for store in stores} for run in job.config["runs"]
    }
    return draw(slug, runs, **job.config["options"])
