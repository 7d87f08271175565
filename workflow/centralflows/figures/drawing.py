"""The figures of the paper, drawn from stored trajectories. It imports no torch.

Each is a function that returns a matplotlib figure of one run (its trajectories by name: "discrete", "midpoint", flows,
"analysis", "speeds"), or of several runs by name. `config.catalogue` lists them by slug.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from ..analysis.time_series import analyse
from ..common.references import load
from ..config import catalogue  # the settings of a job hold what it uses of it
from ..config.messages import instead
from .run_description import described
from .run_view import OPTIMIZERS, NotShown, Run, Runs, optimizer
from .style import note, settle, styled, unify


@styled()
def draw(slug: str, runs: Runs, *, start: int | None = None, stop: int | None = None) -> Figure:
    """Draw a figure of the catalogue for steps [start, stop); the data determine the window if both are None.

    Args:
        runs: trajectories by name of the run, and for each run by name of the process. If a figure needs an analysis
            that is missing, it is computed here.

    Raises:
        NotShown: there is no such figure, or the runs do not hold its data.
    """
    if slug not in catalogue.CATALOGUE:
        raise NotShown(f"there is no figure {slug!r}{instead(slug, catalogue.CATALOGUE)}")
    drawing = catalogue.CATALOGUE[slug]
    runs = {name: _complete(slug, drawing, name, run) for name, run in runs.items()}
    function = load(drawing.implementation)
    if drawing.runs == 0:
        return function(runs)
    window = None
    if start is not None or stop is not None:
        last = max(int(store.step[-1]) for run in runs.values() for store in run.values())
        window = (start or 0, last + 1 if stop is None else stop)
    main = next(iter(runs.values())) if drawing.runs == 1 else runs
    bands = {"seeds": list(runs.values())[1:]} if drawing.seeds else {}
    figure = function(main, window=window, **bands)
    unify(figure)
    remarks = [", ".join([described(main)["problem"], described(main)["settings"]])] if drawing.runs == 1 else []
    remarks += [f"\u00d7 {name} ends: {reason}" for name, reason in figure.ends.items() if "reached" not in reason]
    if remarks := [*remarks, *_divergences(runs)]:
        note(figure, "\n".join(remarks))
    settle(figure)
    return figure


def _complete(slug: str, drawing: catalogue.Drawing, name: str, run: Run) -> Run:
    """Return the run with all stores that a figure shows."""
    needed = ("discrete", "midpoint", *drawing.stores) if drawing.runs else ()
    if missing := [store for store in needed if store not in run and store != "analysis"]:
        cure = " (speeds: see centralflows.flows.preconditioner_speeds.compare)" if "speeds" in missing else ""
        raise NotShown(f"{slug} shows {', '.join(missing)}, which {name} does not hold{cure}")
    if "one step size" in drawing.needs and optimizer(run) == OPTIMIZERS["rmsprop"]:
        shows, _, _ = catalogue.NEEDS["one step size"].partition(";")
        raise NotShown(f"{slug} {shows} with one edge of stability, and {name} has a step size for each weight")
    for need in drawing.needs:
        if lacking := [held for held in catalogue.HELD_IN.get(need, ()) if held not in run["discrete"]]:
            shows, _, _ = catalogue.NEEDS[need].partition(";")
            raise NotShown(f"{slug} {shows}, and {name} holds no {lacking[0]}")
    return run if "analysis" in run or "analysis" not in needed else {**run, "analysis": analyse(run)}


def _divergences(runs: Runs) -> list[str]:
    steps = {
        name: [int(store.attrs["diverged"]) for store in run.values() if "diverged" in store.attrs]
        for name, run in runs.items()
    }
    return [f"{name} diverged at step {min(found)}" for name, found in steps.items() if found]
