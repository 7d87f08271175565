"""The figure of a job, drawn from its recorded stores."""

from __future__ import annotations

from matplotlib.figure import Figure

from ..figures.drawing import draw
from ..store.trajectory import open_trajectory
from .job import Job


def stored_figure(job: Job) -> Figure:
    """Return the figure that the job's configuration names, drawn from its inputs `<run>/<store>`."""
    slug = job.config["draw"]
    stores = ("discrete", "midpoint", *job.config["stores"])
    runs = {
        run: {store: open_trajectory(job.input(f"{run}/{store}")) for store in stores} for run in job.config["runs"]
    }
    return draw(slug, runs, **job.config["options"])
