"""The figures of the paper, drawn from stored trajectories. Imports no torch.

Each is a function from a run (its trajectories by name: "discrete", "midpoint", flows, "analysis", "speeds"), or from several
runs by name, to a matplotlib figure. `centralflows.catalogue` lists them by slug.
"""

from __future__ import annotations

from importlib import import_module

from matplotlib.figure import Figure

from ..catalogue import CATALOGUE
from .runs import NotShown, Run, Runs
from .style import save

__all__ = ["NotShown", "Run", "Runs", "draw", "save"]


def draw(slug: str, runs: Runs, *, start: int | None = None, stop: int | None = None) -> Figure:
    """Draw a figure of the catalogue, of steps [start, stop); the window is found from the data if both are None.

    Args:
        runs: trajectories by name of the run, and in each by name of the process.

    Raises:
        NotShown: the runs do not hold what the figure shows.
    """
    drawing = CATALOGUE[slug]
    module, name = drawing.function.split(".")
    function = getattr(import_module(f".{module}", __package__), name)
    if drawing.runs == 0:
        return function(runs)
    window = None
    if start is not None or stop is not None:
        last = max(int(store.step[-1]) for run in runs.values() for store in run.values())
        window = (start or 0, last + 1 if stop is None else stop)
    figure = function(next(iter(runs.values())) if drawing.runs == 1 else runs, window=window)
    if remarks := _divergences(runs):
        figure.suptitle("; ".join(remarks), fontsize=9, style="italic")
    return figure


def _divergences(runs: Runs) -> list[str]:
    steps = {
        name: [int(store.attrs["diverged"]) for store in run.values() if "diverged" in store.attrs]
        for name, run in runs.items()
    }
    return [f"{name} diverged at step {min(found)}" for name, found in steps.items() if found]
