"""RMSProp, with a step size for each weight."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..analysis import windows
from ..analysis.crossings import EDGE
from ..analysis.windows import Window
from . import panels
from .central_flow_figures import NO_RANK
from .run_view import NotShown, Run, Runs, cut, learning_rate, names, with_seeds
from .style import CENTRAL, LINES, MODES, finish, note, shared_legend
from .style import panels as new

UNITS = r"loss$^2$ / weight$^2$"


def edge_of_stability(run: Run, *, window: Window | None = None) -> Figure:
    """Draw the loss, and the leading eigenvalues of the effective Hessian."""
    shown = cut(run, window)
    figure, (loss, effective) = new(2, height=2.8)
    panels.loss(loss, shown)
    panels.eigenvalues(effective, shown, count=4)
    panels.edge(effective)
    shared_legend(figure, loss, effective)
    return figure


def oscillation(run: Run, *, window: Window | None = None) -> Figure:
    """Draw the squared gradients of three weights and their averages nu, over the last third of the run."""
    steps = run["discrete"].sizes["step"]
    shown = cut(run, window or (steps - steps // 3, steps))
    figure, axes = new(3, height=2.8)
    for i, panel, weight in _weights(shown, axes):
        square, nu = (
            shown["discrete"][name].sel(coordinate=weight) for name in ("gradient_squared", "state_coordinates")
        )
        panel.plot(square.step, square, **LINES["raw"] | {"color": MODES[i]}, label="squared gradient")
        panel.plot(nu.step, nu, **LINES["discrete"] | {"color": MODES[i], "lw": 2.0}, label=r"its average $\nu$")
        _finish(panel, i, weight)
    shared_legend(figure, axes[0])
    return figure


def tracking(run: Run, *, window: Window | None = None, seeds: Sequence[Run] = ()) -> Figure:
    """Draw loss, leading effective eigenvalues, and distances of RMSProp, its stable flow and its central flow."""
    shown = cut(run, window)
    figure, (loss, effective, distance) = new(3, height=3.0)
    if several := with_seeds(run, seeds, window):
        panels.loss_bands(loss, several, ("discrete", "stable", "central"))
        panels.distance_bands(distance, several, ("stable", "central"))
    panels.loss(loss, shown, ("stable", "central"))
    panels.eigenvalues(effective, shown, "central", count=4)
    panels.edge(effective)
    panels.bounded(effective, EDGE, factor=1.6)
    panels.distances(distance, shown, ("stable", "central"))
    shared_legend(figure, loss, effective)
    return figure


def squared_gradients(run: Run, *, window: Window | None = None) -> Figure:
    """Draw squared gradients of three weights, their time average, and the central flow's prediction of it."""
    found, shown = _highest_rank(run, window)
    central, analysis, plain = shown["central"], shown["analysis"], names(shown)["discrete"]
    figure, axes = new(3, height=2.8)
    for i, panel, weight in _weights(shown, axes):
        at = {"coordinate": weight}
        average, prediction = analysis.gradient_squared_average.sel(at), central.predicted_gradient_squared.sel(at)
        panels.averaged(
            panel,
            shown["discrete"].gradient_squared.sel(at),
            average,
            prediction,
            labels=(plain, f"{plain}, time average", "prediction"),
            color=MODES[i],
        )
        panel.plot(central.step, central.gradient_squared.sel(at), **LINES["flow"], label="central flow's own")
        panels.clip(panel, average, prediction, factor=2.0)
        _finish(panel, i, weight)
    shared_legend(figure, axes[0])
    if found is None:
        note(figure, NO_RANK)
    return figure


def averages(run: Run, *, window: Window | None = None) -> Figure:
    """Draw nu of three weights, for RMSProp and the central flow."""
    found, shown = _highest_rank(run, window)
    figure, axes = new(3, height=2.8)
    for i, panel, weight in _weights(shown, axes):
        for process, style in (("discrete", {"color": MODES[i], "lw": 2.0}), ("central", {})):
            panels.line(panel, shown, process, shown[process].state_coordinates.sel(coordinate=weight), **style)
        panel.set_ylim(bottom=0)
        _finish(panel, i, weight)
    shared_legend(figure, axes[0])
    if found is None:
        note(figure, NO_RANK)
    return figure


def stationary_cosine(run: Run, *, window: Window | None = None) -> Figure:
    """Draw the cosine between nu along the central flow and its stationary value for the weights there."""
    cosine = cut(run, window)["speeds"].cosine
    figure, (panel,) = new(1, width=4.0, height=2.9)
    panel.plot(cosine.step, cosine, color=CENTRAL, marker="o", ms=3.5, lw=1.3)
    panel.set_ylim(top=1.0 + 0.05 * (1.0 - float(cosine.min())))
    finish(panel, title=r"cosine of $\nu(t)$ and $\bar\nu(w(t))$", ylabel="cosine")
    return figure


def stationary_coordinates(run: Run, *, window: Window | None = None) -> Figure:
    """Draw nu of single weights (dots) and its stationary value (lines), on a logarithmic axis."""
    shown = cut(run, window)
    speeds, along = shown["speeds"], shown["central"].state_coordinates
    along = along.sel(step=np.intersect1d(speeds.step, along.step))
    figure, (panel,) = new(1, width=5.0, height=3.6)
    for i, weight in enumerate(along.coordinate.values[:10]):
        color = f"C{i}"
        stationary = speeds.nu_stationary.isel(nu_entry=int(weight))
        panel.plot(stationary.step, stationary, color=color, lw=1.2, label=r"$\bar\nu_i(w(t))$" if i == 0 else None)
        nu = along.sel(coordinate=weight)
        panel.plot(nu.step, nu, color=color, ls="none", marker="o", ms=3.5, label=r"$\nu_i(t)$" if i == 0 else None)
    panel.set_yscale("log")
    finish(panel, title=r"$\nu$ of ten weights and its stationary value", ylabel=UNITS, legend="best")
    return figure


def speeds(runs: Runs, *, window: Window | None = None) -> Figure:
    r"""Draw $|\nabla L|^2_{P^{-1}}$ along the central flow for three preconditioners, one panel per learning rate."""
    figure, axes = new(len(runs), height=2.9, sharey=True)
    for i, (panel, run) in enumerate(zip(axes, runs.values(), strict=True)):
        found = cut(run, window)["speeds"]
        for name, label, color in (
            ("speed_curvature", r"$\hat P$: curvature alone", MODES[1]),
            ("speed_stationary", r"$\bar P$: stationary RMSProp", MODES[0]),
            ("speed_gradient_descent", r"gradient descent, $S/2$", MODES[2]),
        ):
            panel.plot(found.step, found[name], color=color, marker="o", ms=3.5, lw=1.2, label=label)
        panel.set_yscale("log")
        finish(panel, title=learning_rate(run), ylabel=r"$|\nabla L|^2_{P^{-1}}$ [loss / step]" if i == 0 else "")
    shared_legend(figure, axes[0])
    return figure


def stationary_flow(run: Run, *, window: Window | None = None) -> Figure:
    """Draw loss, sum of nu, and distance of RMSProp, the stationary flow, and its ablation."""
    shown = cut(run, window)
    flows = ("stationary", "stationary-ablated")
    figure, (loss, total, distance) = new(3, height=2.8)
    panels.loss(loss, shown, flows)
    for process in ("discrete", *flows):
        panels.line(total, shown, process, shown[process].state_total)
    finish(total, title=r"sum of $\nu$", ylabel=UNITS)
    panels.distances(distance, shown, flows)
    shared_legend(figure, loss)
    return figure


def _highest_rank(run: Run, window: Window | None) -> tuple[Window | None, dict[str, xr.Dataset]]:
    found = window or windows.highest_rank(run["central"], most=500)
    return found, cut(run, found)


def _weights(run: Run, axes: list[Axes]) -> Iterator[tuple[int, Axes, int]]:
    """Yield three recorded weights, one for each panel.

    Their mean squared gradients are the largest, the median and the smallest.
    """
    if "gradient_squared" not in run["discrete"]:
        raise NotShown("no weights of this run were followed one by one; set `coordinates`")
    mean = run["discrete"].gradient_squared.mean("step")
    ordered = mean.coordinate.values[np.argsort(-mean.values, kind="stable")]
    chosen = [ordered[0], ordered[len(ordered) // 2], ordered[-1]]
    for i, (panel, weight) in enumerate(zip(axes, chosen, strict=True)):
        yield i, panel, int(weight)


def _finish(axes: Axes, i: int, weight: int) -> None:
    axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    finish(axes, title=f"weight {weight}", ylabel=UNITS if i == 0 else "")
