"""The central flow and the discrete run: their trajectories, and the flow's predictions of the oscillations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..analysis import windows
from ..analysis.crossings import EDGE
from ..analysis.windows import Window
from . import panels
from .run_view import NotShown, Run, cut, names, with_seeds
from .style import LINES, MODES, finish, note, shared_legend
from .style import panels as new

NO_RANK = "The central flow of this run does not stay at the edge of stability; all of it is shown."


def tracking(run: Run, *, window: Window | None = None, seeds: Sequence[Run] = ()) -> Figure:
    """Draw loss, sharpness, one output and distances of the discrete run, the stable flow and the central flow."""
    shown = cut(run, window)
    figure, (loss, sharpness, output, distance) = new(2, 2)
    if several := with_seeds(run, seeds, window):
        panels.loss_bands(loss, several, ("discrete", "stable", "central"))
        panels.distance_bands(distance, several, ("stable", "central"))
    panels.loss(loss, shown, ("stable", "central"))
    panels.sharpness(sharpness, shown, ("stable", "central"))
    panels.edge(sharpness, shown)
    # Gradient flow sharpens without bound; the limits fit the curves near the edge.
    panels.bounded(sharpness, float(EDGE / shown["midpoint"].step_size.min()))
    for process in ("discrete", "stable", "central"):
        panels.line(output, shown, process, shown[process].outputs.isel(example=0, output=liveliest(shown)))
    finish(output, title="network output, one test example", ylabel="output")
    panels.distances(distance, shown, ("stable", "central"))
    shared_legend(figure, sharpness)
    return figure


def several_unstable(run: Run, *, window: Window | None = None, seeds: Sequence[Run] = ()) -> Figure:
    """Draw the leading eigenvalues of the discrete run and the central flow, the rank of Sigma, and distances."""
    shown = cut(run, window)
    figure, (spectrum, rank, distance) = new(3, height=3.0)
    if several := with_seeds(run, seeds, window):
        panels.band(rank, several, "discrete", lambda each: each["central"]["rank"].astype(float))
        panels.distance_bands(distance, several, ("stable", "central"))
    panels.eigenvalues(spectrum, shown, "central", count=4, kind="hessian")
    panels.edge(spectrum, shown)
    panels.rank(rank, shown)
    panels.distances(distance, shown, ("stable", "central"))
    shared_legend(figure, spectrum, distance)
    return figure


def one_variance(run: Run, *, window: Window | None = None) -> Figure:
    """Draw sharpness, squared displacement with its prediction, and distances, while one direction oscillates."""
    found = window or windows.rank_one(run["central"])
    shown = cut(run, found)
    figure, (sharpness, variance, distance) = new(3, height=2.8)
    panels.sharpness(sharpness, shown, ("stable", "central"))
    panels.edge(sharpness, shown)
    level = float(EDGE / shown["midpoint"].step_size.max())
    sharpness.set_ylim(0.6 * level, 1.6 * level)
    _variance(variance, shown, 0)
    panels.distances(distance, shown, ("stable", "central"))
    shared_legend(figure, sharpness, variance)
    if found is None:
        note(figure, NO_RANK)
    return figure


def variances(run: Run, *, window: Window | None = None) -> Figure:
    """Draw the squared displacement along each eigenvector of Sigma, its time average, and its predicted value."""
    found = window or windows.highest_rank(run["central"], most=500)
    shown = cut(run, found)
    _displaced(shown)
    count = max(1, min(3, int(shown["central"]["rank"].max())))
    figure, axes = new(count, height=2.8)
    for i, panel in enumerate(axes):
        _variance(panel, shown, i)
        panel.set(title=f"eigenvector {i + 1}", ylabel="variance [loss]" if i == 0 else "")
        panels.clip(
            panel, shown["central"].variances.isel(mode=i), shown["analysis"].squared_displacement_average.isel(mode=i)
        )
    shared_legend(figure, axes[0])
    if found is None:
        note(figure, NO_RANK)
    return figure


def network_outputs(run: Run, *, window: Window | None = None) -> Figure:
    """Draw every output unit on up to three test examples, over about a hundred steps at the edge."""
    found = window or windows.highest_rank(run["central"], most=100)
    shown = cut(run, found)
    discrete, central = shown["discrete"].outputs, shown["central"].outputs
    figure, axes = new(min(3, discrete.sizes["example"]), height=2.8)
    for example, panel in enumerate(axes):
        for unit in range(min(4, discrete.sizes["output"])):
            at = {"example": example, "output": unit}
            panel.plot(
                discrete.step, discrete.isel(at), color=MODES[unit], lw=1.0, alpha=0.7, label=f"output {unit + 1}"
            )
            style = {} if unit == 0 else {"label": None}
            panels.line(panel, shown, "central", central.isel(at), **style)
        finish(panel, title=f"test example {example + 1}", ylabel="network output" if example == 0 else "")
    shared_legend(figure, axes[0])
    if found is None:
        note(figure, NO_RANK)
    return figure


def loss(run: Run, *, window: Window | None = None) -> Figure:
    """Draw the discrete loss, its time average, the loss along the central flow, and the flow's prediction."""
    return _against_average(
        run, "loss", "training loss", "loss", r"$L(w(t))$", r"$L + \langle H, \Sigma\rangle / 2$", window
    )


def gradient_norm(run: Run, *, window: Window | None = None) -> Figure:
    """Draw the discrete squared gradient norm, its time average, that of the central flow, and the flow's
    prediction."""
    labels = r"$|\nabla L(w(t))|^2$", r"$|\nabla L|^2 + \langle H^2, \Sigma\rangle$"
    return _against_average(
        run, "gradient_norm_squared", "squared gradient norm", r"$|\nabla L|^2$ [loss$^2$/weight$^2$]", *labels, window
    )


def ablation(run: Run, *, window: Window | None = None, seeds: Sequence[Run] = ()) -> Figure:
    """Draw loss, sharpness and effective step size of the discrete run, the central flow and its ablation.

    The loss of the discrete run is that at the midpoints. If each weight has its own step size, their harmonic mean is
    drawn.
    """
    shown = cut(run, window)
    figure, (loss, sharpness, step) = new(3, height=2.8)
    if several := with_seeds(run, seeds, window):
        for flow in ("central", "ablated"):
            panels.band(loss, several, flow, lambda each, flow=flow: each[flow].loss)
            panels.band(step, several, flow, lambda each, flow=flow: each[flow].step_size)
            panels.band(
                sharpness, several, flow, lambda each, flow=flow: each[flow].hessian_eigenvalues.isel(mode=0, drop=True)
            )
    panels.line(loss, shown, "discrete", shown["midpoint"].loss)
    panels.line(step, shown, "discrete", shown["discrete"].step_size)
    for flow in ("central", "ablated"):
        panels.line(loss, shown, flow, shown[flow].loss)
        panels.line(step, shown, flow, shown[flow].step_size)
    panels.sharpness(sharpness, shown, ("central", "ablated"))
    panels.finish_steps(loss, step)
    shared_legend(figure, loss)
    return figure


def liveliest(run: Run) -> int:
    """Return the output unit that changes most on the first test example."""
    return int(np.argmax(run["discrete"].outputs.isel(example=0).std("step").values))


def _against_average(
    run: Run, name: str, title: str, ylabel: str, own: str, predicted: str, window: Window | None
) -> Figure:
    found = window or windows.highest_rank(run["central"], most=1000)
    shown = cut(run, found)
    central, average, plain = shown["central"], shown["analysis"][f"{name}_average"], names(run)["discrete"]
    figure, (panel,) = new(1, width=5.0, height=3.6)
    panels.averaged(
        panel,
        shown["discrete"][name],
        average,
        central[f"predicted_{name}"],
        labels=(plain, f"{plain}, time average", f"central flow, {predicted}"),
    )
    panel.plot(central.step, central[name], **LINES["flow"], label=f"central flow, {own}")
    finish(panel, title=title, ylabel=ylabel)
    bottom = 0.0 if name != "loss" else 0.95 * min(float(central[name].min()), float(shown["discrete"][name].min()))
    panel.set_ylim(bottom, 1.5 * float(np.nanmax(average)) - 0.5 * bottom)
    shared_legend(figure, panel)
    if found is None:
        note(figure, NO_RANK)
    return figure


def _variance(axes, run: Run, mode: int) -> None:
    analysis = run["analysis"]
    panels.averaged(
        axes,
        analysis.squared_displacement.isel(mode=mode),
        analysis.squared_displacement_average.isel(mode=mode),
        run["central"].variances.isel(mode=mode),
        labels=("squared displacement", "its time average", r"eigenvalue of $\Sigma$"),
        color=MODES[mode],
    )
    panels.clip(axes, run["central"].variances.isel(mode=mode), analysis.squared_displacement_average.isel(mode=mode))
    finish(axes, title=r"squared displacement along $u_1$", ylabel="variance [loss]")


def _displaced(run: Run) -> None:
    if not np.isfinite(run["analysis"].squared_displacement).any():
        raise NotShown("the displacement of this run is not known; keep the weights of the discrete run at every step")
