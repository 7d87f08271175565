"""Figures of gradient descent: the edge of stability, and the central flow's predictions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import UserError
from ..metrics import EDGE, hessian_eigenvalues, longest_window
from .style import CENTRAL, LINES, MODES, finish, panels, shared_legend

Data = Mapping[str, xr.Dataset]
Window = tuple[int, int]


class NotShown(UserError, ValueError):
    """The data of a run do not hold what a figure shows."""


def eos(data: Data, *, window: Window | None = None) -> Figure:
    """Training loss, and sharpness rising to 2/lr and staying there."""
    shown = _shown(data, window)
    figure, (loss, sharpness) = panels(2)
    loss.plot(shown["discrete"].step, shown["discrete"].loss, **LINES["discrete"])
    finish(loss, title="training loss", ylabel="loss")
    eigenvalues = hessian_eigenvalues(shown["midpoint"])
    sharpness.plot(eigenvalues.step, eigenvalues.isel(mode=0), **LINES["discrete"])
    _edge(sharpness, shown["midpoint"])
    finish(sharpness, title="sharpness", ylabel="top Hessian eigenvalue", legend="lower right")
    return figure


def central_flow(data: Data, *, window: Window | None = None) -> Figure:
    """Gradient descent, gradient flow and central flow side by side: loss, sharpness, an output, distances."""
    shown = _shown(data, window)
    discrete, midpoint, stable, central = (shown[name] for name in ("discrete", "midpoint", "stable", "central"))
    figure, (loss, sharpness, output, distance) = panels(2, 2)

    loss.plot(discrete.step, discrete.loss, **LINES["discrete"])
    loss.plot(stable.step, stable.loss, **LINES["stable"])
    loss.plot(central.step, central.predicted_loss, **LINES["central"])
    finish(loss, title="training loss", ylabel="loss")

    top = {name: hessian_eigenvalues(shown[name]).isel(mode=0) for name in ("midpoint", "stable", "central")}
    sharpness.plot(midpoint.step, top["midpoint"], **LINES["discrete"])
    sharpness.plot(stable.step, top["stable"], **LINES["stable"])
    sharpness.plot(central.step, top["central"], **LINES["central"])
    _edge(sharpness, midpoint)
    # Gradient flow sharpens without bound; keep room for what stays near the edge.
    sharpness.set_ylim(0, min(2.0 * _threshold(midpoint), 1.05 * max(float(t.max()) for t in top.values())))
    finish(sharpness, title="sharpness", ylabel="top Hessian eigenvalue")

    if "outputs" not in discrete:
        raise NotShown("no network outputs were recorded in this run; give it examples")
    unit = int(np.argmax(discrete.outputs.isel(example=0).std("step").values))
    for trajectory, name in ((discrete, "discrete"), (stable, "stable"), (central, "central")):
        output.plot(trajectory.step, trajectory.outputs.isel(example=0, output=unit), **LINES[name])
    finish(output, title="network output, one test example", ylabel="output")

    _distances(distance, stable, central)
    shared_legend(figure, sharpness)
    return figure


def central_flow_multi(data: Data, *, window: Window | None = None) -> Figure:
    """The leading eigenvalues lock to the edge one after the other; the rank of Sigma counts them; distances."""
    shown = _shown(data, window)
    midpoint, stable, central = (shown[name] for name in ("midpoint", "stable", "central"))
    figure, (spectrum, rank, distance) = panels(3, height=3.0)
    eigenvalues, predicted = hessian_eigenvalues(midpoint), hessian_eigenvalues(central)
    count = min(4, eigenvalues.sizes["mode"])
    for i in range(count):
        spectrum.plot(eigenvalues.step, eigenvalues.isel(mode=i), color=MODES[i], lw=1.1, label=f"eigenvalue {i + 1}")
    for i in range(count):
        style = LINES["central"] | {"lw": 1.4, "label": "central flow" if i == 0 else None}
        spectrum.plot(predicted.step, predicted.isel(mode=i), **style)
    _edge(spectrum, midpoint)
    finish(spectrum, title="top Hessian eigenvalues", ylabel="Hessian eigenvalue")

    rank.step(central.step, central["rank"], where="post", color=CENTRAL, lw=1.8)
    rank.set_yticks(range(int(central["rank"].max()) + 2))
    rank.set_ylim(-0.1, float(central["rank"].max()) + 0.5)
    finish(rank, title=r"rank of $\Sigma(t)$", ylabel="rank")

    _distances(distance, stable, central)
    shared_legend(figure, spectrum, distance)
    return figure


def predict_sigma(data: Data, *, window: Window | None = None) -> Figure:
    """Squared displacement along each eigenvector of Sigma, its time average, and the eigenvalue that predicts it."""
    window = window or _highest_rank(data["central"])
    shown = _shown(data, window)
    central, analysis = shown["central"], shown["analysis"]
    if not np.isfinite(analysis.squared_displacement).any():
        raise NotShown("the displacement of this run is not known; keep the weights of the discrete run at every step")
    modes = min(3, int(central["rank"].max()))
    figure, axes = panels(modes, height=2.8)
    top = float(1.6 * np.nanmax(central.variances.isel(mode=0)))
    for i, panel in enumerate(axes):
        for values, label, name in (
            (analysis.squared_displacement, "squared displacement", "raw"),
            (analysis.squared_displacement_average, "its time average", "average"),
            (central.variances, r"eigenvalue of $\Sigma$", "central"),
        ):
            color = {} if name == "central" else {"color": MODES[i]}
            panel.plot(values.step, values.isel(mode=i), **LINES[name] | {"label": label} | color)
        panel.set_ylim(0, top)
        finish(panel, title=f"eigenvector {i + 1}", ylabel="variance [loss]" if i == 0 else "")
    shared_legend(figure, axes[0])
    return figure


def loss_time_average(data: Data, *, window: Window | None = None) -> Figure:
    """The loss of gradient descent, its time average, and the central flow's prediction of that average."""
    window = window or _highest_rank(data["central"])
    shown = _shown(data, window)
    discrete, central, analysis = shown["discrete"], shown["central"], shown["analysis"]
    figure, (panel,) = panels(1, width=5.0, height=3.2)
    panel.plot(discrete.step, discrete.loss, **LINES["raw"], label="gradient descent")
    panel.plot(analysis.step, analysis.loss_average, **LINES["average"], label="gradient descent, time average")
    panel.plot(central.step, central.loss, color=CENTRAL, lw=1.6, label=r"central flow, $L(w(t))$")
    panel.plot(
        central.step,
        central.predicted_loss,
        **LINES["central"] | {"label": r"prediction, $L(w(t)) + \mathrm{tr}\,\Sigma(t)/\eta$"},
    )
    finish(panel, title="training loss", ylabel="loss", legend="upper right")
    return figure


def _shown(data: Data, window: Window | None) -> dict[str, xr.Dataset]:
    """The trajectories, cut to a window of steps."""
    if window is None:
        return dict(data)
    cut = {}
    for name, dataset in data.items():
        cut[name] = dataset.sel(step=slice(window[0], window[1] - 1))
        if not cut[name].sizes["step"]:
            raise NotShown(f"no step of {name} lies in [{window[0]}, {window[1]})")
    return cut


def _highest_rank(central: xr.Dataset) -> Window:
    """The longest window in which Sigma has its highest lasting rank (up to 3): at least a tenth of the run long."""
    least = max(2, central.sizes["step"] // 10)
    for rank in (3, 2, 1):
        window = longest_window(central["rank"] >= rank)
        if window is not None and window[1] - window[0] >= least:
            return window
    raise NotShown("the central flow of this run does not stay at the edge of stability; choose a larger learning rate")


def _threshold(trajectory: xr.Dataset) -> float:
    return float(EDGE / trajectory.step_size.isel(step=0))


def _distances(axes: Axes, stable: xr.Dataset, central: xr.Dataset) -> None:
    """Distances to the discrete run, where they are known: at the steps at which its weights were kept."""
    for name, trajectory in (("stable", stable), ("central", central)):
        distance = trajectory.distance.dropna("step")
        axes.plot(distance.step, distance, **LINES[name])
    axes.set_ylim(bottom=0)
    finish(axes, title="distance to gradient descent", ylabel="Euclidean distance")


def _edge(axes: Axes, trajectory: xr.Dataset) -> None:
    axes.plot(
        trajectory.step,
        (EDGE / trajectory.step_size).broadcast_like(trajectory.step),
        **LINES["edge"],
        label=r"edge of stability, $2/\eta$",
    )
