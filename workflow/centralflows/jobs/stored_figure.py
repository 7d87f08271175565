"""The figure of a job, drawn from its recorded stores."""

from __future__ import annotations

from matplotlib.figure import Figure

from ..analysis.time_series import analyse
from ..figures.drawing import draw
from ..store.trajectory import open_trajectory
from .job import Job


def stored_figure(job: Job) -> Figure:
    """Return the figure that the job's configuration names, drawn from its inputs `<run>/<store>`."""
    runs = {
        run: {store: open_trajectory(job.input(f"{run}/{store}")) for store in job.config["stores"]}
        for run in job.config["runs"]
    }
    for run, width in job.config["widths"].items():
        runs[run]["analysis"] = analyse(runs[run], width=width)
    return draw(job.config["draw"], runs, **job.config["options"])
