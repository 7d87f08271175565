"""The four headline figures in dimensionless form, with points read off the paper's plots as circles.

Networks, data and rates differ, so that curves cannot coincide; their shape can. Time is in units of the time at which the
first eigenvalue reaches the edge of stability, or of the whole run; a sharpness is over its edge; distances are over that
to the stable flow at one common time.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy import ndarray

from ..analysis.crossings import EDGE, first_crossing, last_known
from ..analysis.windows import Window
from .run_view import NotShown, Run, cut
from .style import LINES, MODES, shared_legend
from .style import panels as new

PAPER = {"ls": "none", "marker": "o", "mfc": "none", "ms": 5, "mew": 1.2}
IN_ONSETS = "time, in units of the time at which the edge is reached"


def tracking(run: Run, *, window: Window | None = None) -> Figure:
    """Draw sharpness over its edge, and distances of both flows, of gradient descent and of the paper's."""
    figure, (sharpness, distance) = new(2, width=4.2, height=3.0)
    shown, paper = cut(run, window), _curves("gd-central-flow")
    onset = _onset(shown)
    for process, color, name in (
        ("midpoint", LINES["discrete"]["color"], "sharpness of gradient descent"),
        ("stable", LINES["stable"]["color"], "sharpness of gradient flow"),
    ):
        values = shown[process].effective_eigenvalues.isel(mode=0) / EDGE
        sharpness.plot(values.step / onset, values, color=color, lw=1.2, label=name)
        _points(sharpness, paper[name], paper["onset"], paper["edge"], color)
    sharpness.axhline(1, **LINES["edge"])
    sharpness.set_ylim(0, 2.2)
    _finish(sharpness, "sharpness over its edge")
    _distances(distance, shown, onset, paper, "distance to gradient flow")
    return _done(figure, sharpness, distance)


def several_unstable(run: Run, *, window: Window | None = None) -> Figure:
    """Draw the eigenvalues of the central flow over the edge, and the rank of Sigma, here and in the paper."""
    figure, (spectrum, rank) = new(2, width=4.2, height=3.0)
    shown, paper = cut(run, window), _curves("gd-central-flow-multi")
    onset, central = _onset(shown), shown["central"]
    for mode in range(min(3, central.sizes["mode"])):
        values = central.effective_eigenvalues.isel(mode=mode) / EDGE
        spectrum.plot(values.step / onset, values, color=MODES[mode], lw=1.2, label=f"eigenvalue {mode + 1}")
        name = f"eigenvalue {mode + 1}"
        _points(spectrum, paper[name], paper["onset"], paper["edge"], MODES[mode])
    _finish(spectrum, "eigenvalues over the edge")
    rank.step(central.step / onset, central["rank"], where="post", color="black", lw=1.3, label="rank")
    _points(rank, paper["rank of Sigma"], paper["onset"], 1, "black")
    rank.set_yticks(range(int(central["rank"].max()) + 2))
    _finish(rank, r"rank of $\Sigma(t)$")
    return _done(figure, spectrum, rank)


def ablation(run: Run, *, window: Window | None = None) -> Figure:
    """Draw loss and sharpness with and without curvature penalty, relative to the start, here and in the paper."""
    figure, (loss, sharpness) = new(2, width=4.2, height=3.0)
    shown, paper = cut(run, window), _curves("scalar-rmsprop-ablation")
    for process, name in (("central", "of the central flow"), ("ablated", "without curvature penalty")):
        color = LINES[process]["color"]
        hessian = shown[process].hessian_eigenvalues.isel(mode=0)
        for axes, what, values in ((loss, "loss", shown[process].loss), (sharpness, "sharpness", hessian)):
            known = values.dropna("step")
            duration = float(known.step[-1]) or 1.0
            axes.plot(known.step / duration, known / known[0], color=color, lw=1.2, label=name)
            points = paper[f"{what} {name}"]
            _points(axes, points, paper["steps"], float(points[0, 1]), color)
    _finish(loss, "loss, relative to the start", xlabel="time, in units of the whole run")
    _finish(sharpness, "sharpness, relative to the start", xlabel="time, in units of the whole run")
    return _done(figure, loss)


def rmsprop_tracking(run: Run, *, window: Window | None = None) -> Figure:
    """Draw the distances of RMSProp's stable and central flow, here and in the paper."""
    figure, (distance,) = new(1, width=6.4, height=3.2)
    shown = cut(run, window)
    _distances(distance, shown, _onset(shown), _curves("rmsprop-central-flow"), "distance to the stable flow")
    return _done(figure, distance)


def _distances(axes: Axes, run: Run, onset: float, paper: dict[str, Any], stable: str) -> None:
    """Draw distances over that of the stable flow at the last time at which both runs have one."""
    theirs = paper[stable]
    last = last_known(run["stable"].distance)
    if last is None:
        raise NotShown("the distance of the stable flow is not known")
    common = min(last[0] / onset, theirs[-1, 0] / paper["onset"])
    unit = float(run["stable"].distance.dropna("step").interp(step=common * onset))
    their_unit = float(np.interp(common * paper["onset"], *theirs.T))
    for process, name in (("stable", stable), ("central", "distance to the central flow")):
        values, color = run[process].distance.dropna("step") / unit, LINES[process]["color"]
        axes.plot(values.step / onset, values, color=color, lw=1.2, label=name)
        _points(axes, paper[name], paper["onset"], their_unit, color)
    axes.set(xlim=(0, 1.05 * common), ylim=(-0.03, 1.1))
    _finish(axes, "distance over the stable flow's")


def _curves(name: str) -> dict[str, Any]:
    curves = json.loads((resources.files("centralflows") / "analysis" / "published.json").read_text())["curves"][name]
    return {key: np.array(value) if isinstance(value, list) else value for key, value in curves.items()}


def _onset(run: Run) -> float:
    """Return the step at which the edge is reached; the last one if it is not, or was before the start."""
    return float(first_crossing(run["midpoint"].effective_eigenvalues.isel(mode=0)) or run["midpoint"].step[-1])


def _points(axes: Axes, points: ndarray, time: float | int, unit: float | int, color: Any) -> None:
    steps, values = points.T
    axes.plot(steps / time, values / unit, color=color, **PAPER)


def _finish(axes: Axes, title: str, *, xlabel: str = IN_ONSETS) -> None:
    axes.set(title=title, xlabel=xlabel)
    axes.spines[["top", "right"]].set_visible(False)


def _done(figure: Figure, *legends: Axes) -> Figure:
    legends[0].plot([], [], color="#444444", label="circles: the paper", **PAPER)
    shared_legend(figure, *legends)
    return figure
