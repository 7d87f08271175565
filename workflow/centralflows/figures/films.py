"""Moving pictures of runs: finished figures whose curves grow, and one cycle with the iterate in its valley.

A film is a figure, and a function of the time [steps] that sets its artists.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ..analysis import windows
from ..analysis.directions import along, most_displaced
from . import panels
from .run_view import Run, cut
from .style import DISCRETE, LINES, MODES, finish, styled
from .style import panels as new

TRAIL = 8  # steps of the iterate that stay visible


class Film(NamedTuple):
    """A moving picture.

    Attributes:
        figure: what it shows, with the limits of all axes.
        at: function of a time [steps] that sets the figure's artists.
        times: of its first frame and of its last.
    """

    figure: Figure
    at: Callable[[float], None]
    times: tuple[float, float]


def growing(figure: Figure) -> Film:
    """Return the film in which every curve of a figure over time grows from the first step to the last."""
    curves = [line for axes in figure.axes for line in axes.lines if len(line.get_xdata()) > 2]
    whole = [np.array(line.get_data(), dtype=float) for line in curves]
    ends = [line for axes in figure.axes for line in axes.lines if len(line.get_xdata()) == 1]

    def at(time: float) -> None:
        for line, (x, y) in zip(curves, whole, strict=True):
            line.set_data(x[x <= time], y[x <= time])
        for mark in ends:
            mark.set_visible(bool(mark.get_xdata()[0] <= time))

    return Film(figure, at, (min(x.min() for x, _ in whole), max(x.max() for x, _ in whole)))


@styled()
def valley(run: Run) -> Film:
    r"""Return the film of one cycle: the iterate in its valley, and the sharpness and displacement so far.

    Along the direction of the displacement x, in P-normalised units, the loss is that at the midpoint plus
    $\lambda x^2 / 2$ with the effective eigenvalue $\lambda$, which the oscillation itself lowers.
    """
    shown = cut(run, windows.first_blow(run["midpoint"]))
    midpoint = shown["midpoint"]
    number = most_displaced(midpoint)
    x, curvature = (
        along(midpoint[v], midpoint.direction, number).dropna("step") for v in ("oscillation", "effective_eigenvalues")
    )
    steps, x, curvature = x.step.values, x.values, curvature.values
    reach = 1.15 * float(np.abs(x).max())
    grid = np.linspace(-reach, reach, 200)
    figure, (place, sharpness, displacement) = new(3, width=3.0, height=2.8)
    (wall,) = place.plot(grid, curvature[0] * grid**2 / 2, color="black", lw=1.3)
    (path,) = place.plot([], [], color=DISCRETE, lw=0.9, alpha=0.6)
    (ball,) = place.plot([], [], color=MODES[1], marker="o", ms=7, ls="none")
    place.set(
        title="the iterate in its valley",
        xlabel=r"[loss$^{1/2}$]",
        ylabel="loss above the midpoint's",
        xlim=(-reach, reach),
        ylim=(0, float(curvature.max()) * reach**2 / 2),
    )
    place.spines[["top", "right"]].set_visible(False)
    (rising,) = sharpness.plot(steps, curvature, **LINES["discrete"])
    panels.edge(sharpness)
    finish(sharpness, title="effective sharpness", ylabel="eigenvalue")
    (swinging,) = displacement.plot(steps, x, **LINES["discrete"] | {"marker": ".", "ms": 3, "lw": 0.8})
    displacement.axhline(0, **LINES["edge"])
    finish(displacement, title="displacement", ylabel=r"[loss$^{1/2}$]")

    def at(time: float) -> None:
        now = int(np.searchsorted(steps, time, side="right")) - 1
        since = max(0, now - TRAIL)
        heights = curvature[now] * x[since : now + 1] ** 2 / 2
        wall.set_ydata(curvature[now] * grid**2 / 2)
        path.set_data(x[since : now + 1], heights)
        ball.set_data(x[now : now + 1], heights[-1:])
        rising.set_data(steps[: now + 1], curvature[: now + 1])
        swinging.set_data(steps[: now + 1], x[: now + 1])

    return Film(figure, at, (float(steps[0]), float(steps[-1])))
