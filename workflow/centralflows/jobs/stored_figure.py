"""The figure of a job, drawn from its recorded stores, as a picture or as a film."""

from __future__ import annotations

import xarray as xr
from matplotlib.figure import Figure

from ..analysis.time_series import analyse
from ..config.catalogue import CATALOGUE
from ..figures import films
from ..figures.drawing import draw
from ..figures.films import Film
from ..store.trajectory import open_trajectory
from .job import Job


def stored_figure(job: Job) -> Figure:
    """Return the figure that the job's configuration names, drawn from its inputs `<run>/<store>`."""
    return draw(job.config["draw"], _stored_runs(job), **job.config["options"])


def stored_film(job: Job) -> Film:
    """Return the same figure as a film."""
    if CATALOGUE[job.config["draw"]].film == "valley":
        return films.valley(next(iter(_stored_runs(job).values())))
    return films.growing(stored_figure(job))


def _stored_runs(job: Job) -> dict[str, dict[str, xr.Dataset]]:
    runs = {
        run: {store: open_trajectory(job.input(f"{run}/{store}")) for store in job.config["stores"]}
        for run in job.config["runs"]
    }
    for run, width in job.config["widths"].items():
        runs[run]["analysis"] = analyse(runs[run], width=width)
    return runs
