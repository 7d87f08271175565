"""Panels that many figures share: each draws one quantity of a run on given axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from ..analysis.crossings import EDGE
from ..analysis.directions import along, most_displaced
from ..analysis.time_series import time_average
from .run_view import Run, attributes, learning_rate, names, setting
from .style import LINES, MODES, Picture, finish

LOSS = "training loss"
AVERAGE_WIDTH = 12.0  # steps
DISPLACEMENT = r"displacement along $u_1$"


def line(axes: Axes, run: Run, process: str, values: xr.DataArray, **style: Any) -> None:
    """Draw a series in the style of a process, under its name."""
    known = values.dropna("step")  # a series recorded at some steps only is drawn as a line too
    style = LINES[process] | {"label": names(run)[process]} | style
    axes.plot(known.step, known, **style)
    reason = run[process].attrs.get("stopped") if process in run else None
    if reason and known.sizes["step"]:
        axes.plot(known.step[-1], known[-1], marker="x", ms=7, mew=1.8, color=style["color"], clip_on=False)
        if isinstance(axes.figure, Picture):
            axes.figure.ends[names(run)[process]] = reason


def by_learning_rate(runs: Iterable[Run]) -> Iterator[tuple[Any, str, Run]]:
    """Yield colour, label and run, the smallest learning rate first, so that colours mean the same in every figure."""

    def rate(run: Run) -> float:
        lr = setting(run, "optimizer", "lr") or attributes(run).get("learning_rate")
        return lr if isinstance(lr, float | int) else math.inf

    for i, run in enumerate(sorted(runs, key=rate)):
        yield MODES[i % len(MODES)], learning_rate(run), run


def flow_label(axes: Axes, run: Run, process: str = "central") -> None:
    """Add one entry for the flows of several runs, each in a darker shade of its run, to the legend."""
    axes.plot([], [], **LINES[process] | {"color": "#444444", "label": f"{names(run)[process]} (darker)"})


def band(axes: Axes, runs: Sequence[Run], process: str, quantity: Callable[[Run], xr.DataArray]) -> None:
    """Draw the range of a quantity over runs that differ in their seed alone, at the steps that all have."""
    series = [quantity(run).dropna("step") for run in runs]
    values = xr.concat(xr.align(*series, join="inner"), "run")
    label = f"range of {len(runs)} seeds" if process == "discrete" else None
    style = {"color": LINES[process]["color"], "alpha": 0.18, "lw": 0, "label": label}
    axes.fill_between(values.step, values.min("run"), values.max("run"), **style)


def loss_bands(axes: Axes, runs: Sequence[Run], processes: Sequence[str]) -> None:
    """Draw the range over seeds of the loss: averaged over time, and as the flows predict this average."""
    for process in processes:
        averaged = process == "discrete"
        band(axes, runs, process, lambda run, p=process, a=averaged: _average(run) if a else _predicted(run[p]))


def distance_bands(axes: Axes, runs: Sequence[Run], flows: Sequence[str]) -> None:
    """Draw the range over seeds of the distances of flows to the discrete run."""
    for flow in flows:
        band(axes, runs, flow, lambda run, flow=flow: run[flow].distance)


def _predicted(flow: xr.Dataset) -> xr.DataArray:
    return flow.get("predicted_loss", flow.loss)


def _average(run: Run) -> xr.DataArray:
    return time_average(run["discrete"].loss, width=AVERAGE_WIDTH)


def loss(axes: Axes, run: Run, flows: Sequence[str] = (), *, title: str = LOSS, **style: Any) -> None:
    """Draw the loss of the discrete run and of flows.

    For a flow that predicts its time average, the prediction is drawn.
    """
    line(axes, run, "discrete", run["discrete"].loss, **style)
    for flow in flows:
        line(axes, run, flow, _predicted(run[flow]))
    finish(axes, title=title, ylabel="loss")


def sharpness(axes: Axes, run: Run, flows: Sequence[str] = (), *, title: str = "sharpness") -> None:
    """Draw the top eigenvalue of the Hessian, at the midpoints of the discrete run and along flows."""
    line(axes, run, "discrete", run["midpoint"].hessian_eigenvalues.isel(mode=0))
    for flow in flows:
        line(axes, run, flow, run[flow].hessian_eigenvalues.isel(mode=0))
    finish(axes, title=title, ylabel="top eigenvalue")


def effective_sharpness(axes: Axes, run: Run, flows: Sequence[str] = ()) -> None:
    """Draw the top eigenvalue of the effective Hessian, and the edge at 2."""
    line(axes, run, "discrete", run["midpoint"].effective_eigenvalues.isel(mode=0))
    for flow in flows:
        line(axes, run, flow, run[flow].effective_eigenvalues.isel(mode=0))
    edge(axes)
    finish(axes, title="effective sharpness", ylabel="top eigenvalue")


def eigenvalues(axes: Axes, run: Run, flow: str | None = None, *, count: int, kind: str = "effective") -> None:
    """Draw the leading eigenvalues at the midpoints in colours, and those along a flow dashed.

    Args:
        kind: "effective" or "hessian".
    """
    found = run["midpoint"][f"{kind}_eigenvalues"]
    for i in range(min(count, found.sizes["mode"])):
        axes.plot(found.step, found.isel(mode=i), color=MODES[i], lw=1.1, label=f"eigenvalue {i + 1}")
    if flow is not None:
        along = run[flow][f"{kind}_eigenvalues"]
        for i in range(min(count, along.sizes["mode"])):
            style = {"lw": 1.4} | ({} if i == 0 else {"label": None})
            line(axes, run, flow, along.isel(mode=i), **style)
    title = "effective eigenvalues, sorted" if kind == "effective" else "Hessian eigenvalues, sorted"
    finish(axes, title=title, ylabel="eigenvalue")


def displacement(run: Run) -> xr.DataArray:
    """Return the iterates' displacement from their midpoints along one direction, that of the largest displacements."""
    midpoint = run["midpoint"]
    return along(midpoint.oscillation, midpoint.direction, most_displaced(midpoint))


def edge(axes: Axes, run: Run | None = None, *, color: Any = "black", label: str | None = None) -> None:
    """Draw the edge of stability: 2 for the effective sharpness, or 2 over the step size for the sharpness of a run."""
    if run is None:
        axes.axhline(EDGE, **LINES["edge"] | {"color": color}, label=label or "edge of stability, 2")
        return
    midpoint = run["midpoint"]
    level = (EDGE / midpoint.step_size).broadcast_like(midpoint.step)
    label = label or r"edge of stability, $2/\eta$"
    axes.plot(midpoint.step, level, **LINES["edge"] | {"color": color}, label=label)


def bounded(axes: Axes, level: float, *, factor: float = 2.0) -> None:
    """Set the y axis for curves near a level; a curve that grows without bound leaves the panel."""
    top = axes.get_ylim()[1]
    axes.set_ylim(0, min(factor * level, top))


def distances(axes: Axes, run: Run, flows: Sequence[str]) -> None:
    """Draw the distances of flows to the discrete run, at the steps at which its weights were kept."""
    for flow in flows:
        line(axes, run, flow, run[flow].distance)
    axes.set_ylim(bottom=0)
    finish(axes, title=f"distance to {names(run)['discrete']}", ylabel="Euclidean distance")


def rank(axes: Axes, run: Run) -> None:
    """Draw the rank of Sigma."""
    ranks = run["central"]["rank"]
    axes.step(ranks.step, ranks, where="post", **LINES["flow"])
    axes.set_yticks(range(int(ranks.max()) + 2))
    axes.set_ylim(-0.1, int(ranks.max()) + 0.5)
    finish(axes, title=r"rank of $\Sigma(t)$", ylabel="rank")


def averaged(
    axes: Axes,
    raw: xr.DataArray,
    average: xr.DataArray | None,
    prediction: xr.DataArray,
    *,
    labels: tuple[str, str, str],
    color: Any = LINES["raw"]["color"],
) -> None:
    """Draw a fluctuating series (faint), its time average (thick), and a central flow's prediction (dashed black)."""
    axes.plot(raw.step, raw, **LINES["raw"] | {"color": color, "label": labels[0]})
    if average is not None:
        axes.plot(average.step, average, **LINES["average"] | {"color": color, "label": labels[1]})
    axes.plot(prediction.step, prediction, **LINES["central"] | {"label": labels[2]})


def clip(axes: Axes, *values: xr.DataArray, factor: float = 1.6) -> None:
    """Set a y axis from 0 that shows these curves well and cuts spikes far above them."""
    top = max((float(np.nanmax(v)) for v in values if np.isfinite(v).any()), default=1.0)
    if top > 0:
        axes.set_ylim(0, factor * top)


def finish_steps(loss: Axes, step: Axes) -> None:
    """Set the titles of panels of loss and effective step size."""
    finish(loss, title="training loss (at midpoints)", ylabel="loss")
    finish(step, title="effective step size", ylabel=r"weight$^2$ / loss")
