"""Scalar RMSProp, with one adaptive step size."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..analysis import windows
from ..analysis.crossings import EDGE
from ..analysis.windows import Window
from . import panels
from .central_flow_figures import liveliest
from .edge_of_stability import NO_EDGE
from .run_view import Run, Runs, cut, setting
from .style import LINES, MODES, darker, finish, note, shared_legend
from .style import panels as new

NU = r"$\nu$"
SQUARE = r"$|\nabla L|^2$"


def effective_sharpness(run: Run, *, window: Window | None = None) -> Figure:
    """Draw loss, |grad L|^2 with its average nu, an output, both sharpnesses and the step size, through six cycles."""
    found = window or windows.early(run["midpoint"], cycles=6)
    shown = cut(run, found)
    discrete = shown["discrete"]
    figure, (loss, square, output, sharpness, effective, step) = new(3, 2)
    panels.loss(loss, shown)
    square.plot(discrete.step, discrete.gradient_norm_squared, **LINES["raw"], label=SQUARE)
    square.plot(discrete.step, discrete.state_total, **LINES["discrete"], label=NU)
    panels.clip(square, discrete.state_total, factor=3.0)
    finish(square, title=rf"{SQUARE} and {NU}", ylabel=r"loss$^2$ / weight$^2$")
    panels.line(output, shown, "discrete", discrete.outputs.isel(example=0, output=liveliest(shown)))
    finish(output, title="network output, one test example", ylabel="output")
    panels.sharpness(sharpness, shown)
    panels.effective_sharpness(effective, shown)
    panels.line(step, shown, "discrete", discrete.step_size)
    finish(step, title=r"effective step size, $\eta/\sqrt{\nu}$", ylabel=r"weight$^2$ / loss")
    shared_legend(figure, effective, square)
    return figure


def one_cycle(run: Run, *, window: Window | None = None) -> Figure:
    """Draw six quantities from the second upward crossing of 2 to the third."""
    found = window or windows.cycle(run["midpoint"], 2) or windows.cycle(run["midpoint"], 1)
    return _cycle({"": run}, found)


def memories_cycle(runs: Runs, *, window: Window | None = None) -> Figure:
    """Draw the same six quantities for several memories of nu from one start, for one cycle of the slowest."""
    found = window or windows.restarted([run["midpoint"] for run in runs.values()])
    return _cycle({_memory(name, run): run for name, run in runs.items()}, found)


def memories(runs: Runs, *, window: Window | None = None) -> Figure:
    """Draw loss, effective sharpness, sharpness and nu at several memories, with the central flow of each."""
    figure, (loss, effective, sharpness, nu) = new(2, 2)
    for i, (name, run) in enumerate(runs.items()):
        shown = cut(run, window)
        midpoint, central = shown["midpoint"], shown["central"]
        series = (
            (loss, shown["discrete"].loss, central.predicted_loss),
            (effective, midpoint.effective_eigenvalues.isel(mode=0), central.effective_eigenvalues.isel(mode=0)),
            (sharpness, midpoint.hessian_eigenvalues.isel(mode=0), central.hessian_eigenvalues.isel(mode=0)),
            (nu, shown["discrete"].state_total, central.state_total),
        )
        for panel, discrete, flow in series:
            panels.line(panel, shown, "discrete", discrete, color=MODES[i], label=_memory(name, run))
            panels.line(panel, shown, "central", flow, color=darker(MODES[i]), label=None)
    panels.flow_label(effective, next(iter(runs.values())))
    finish(loss, title=panels.LOSS, ylabel="loss")
    panels.edge(effective)
    finish(effective, title="effective sharpness", ylabel=r"$\eta S/\sqrt{\nu}$")
    finish(sharpness, title="sharpness", ylabel="top eigenvalue")
    finish(nu, title=rf"average {NU} of {SQUARE}", ylabel=r"loss$^2$ / weight$^2$")
    shared_legend(figure, effective)
    return figure


def several_unstable(run: Run, *, window: Window | None = None) -> Figure:
    """Draw the loss, the leading effective eigenvalues, and those of the Hessian."""
    shown = cut(run, window)
    figure, (loss, effective, plain) = new(3, height=2.8)
    panels.loss(loss, shown)
    panels.eigenvalues(effective, shown, count=4)
    panels.edge(effective)
    panels.eigenvalues(plain, shown, count=4, kind="hessian")
    shared_legend(figure, loss, effective)
    return figure


def stable_flow(run: Run, *, window: Window | None = None) -> Figure:
    """Draw loss, effective sharpness, and the distance of the stable flow, through the first cycles."""
    found = window or windows.early(run["midpoint"], cycles=4)
    shown = cut(run, found)
    figure, (loss, effective, distance) = new(3, height=2.8)
    panels.loss(loss, shown, ("stable",))
    panels.effective_sharpness(effective, shown, ("stable",))
    panels.bounded(effective, EDGE, factor=3.0)
    panels.distances(distance, shown, ("stable",))
    shared_legend(figure, effective)
    return figure


def step_size(run: Run, *, window: Window | None = None) -> Figure:
    """Draw effective step size, sharpness, and their product, which is 2, in the second half of the run."""
    half = run["central"].sizes["step"] // 2
    shown = cut(run, window or (half, run["central"].sizes["step"]))
    figure, (step, sharpness, product) = new(3, height=2.8)
    for process in ("discrete", "central"):
        panels.line(step, shown, process, shown[process].step_size)
    finish(step, title="effective step size", ylabel=r"$\eta/\sqrt{\nu}$")
    panels.eigenvalues(sharpness, shown, "central", count=3, kind="hessian")
    finish(sharpness, title=r"$\times$  Hessian eigenvalues", ylabel="eigenvalue")
    panels.eigenvalues(product, shown, "central", count=3)
    panels.edge(product)
    finish(product, title=r"$=$  effective eigenvalues", ylabel=r"$\eta\lambda_i/\sqrt{\nu}$")
    shared_legend(figure, step, sharpness, product)
    return figure


def learning_rates(runs: Runs, *, window: Window | None = None) -> Figure:
    """Draw loss and sharpness at several learning rates, each until it has the same loss."""
    figure, (loss, sharpness) = new(2, height=2.8)
    for color, label, shown in panels.by_learning_rate(cut(run, window) for run in runs.values()):
        central, once = shown["central"], {"color": darker(color), "label": None}
        panels.line(loss, shown, "discrete", shown["discrete"].loss, color=color, label=label)
        panels.line(loss, shown, "central", central.predicted_loss, **once)
        panels.line(
            sharpness, shown, "discrete", shown["midpoint"].hessian_eigenvalues.isel(mode=0), color=color, label=label
        )
        panels.line(sharpness, shown, "central", central.hessian_eigenvalues.isel(mode=0), **once)
    level = setting(next(iter(runs.values())), "stop_at_loss")
    panels.flow_label(loss, next(iter(runs.values())))
    if level is not None:
        loss.axhline(level, **LINES["edge"], label=f"loss {level:g}")
    finish(loss, title=panels.LOSS, ylabel="loss")
    finish(sharpness, title="sharpness", ylabel="top eigenvalue")
    shared_legend(figure, loss)
    return figure


def acceleration(runs: Runs, *, window: Window | None = None) -> Figure:
    """Draw loss, sharpness and effective step size at several learning rates, from one point and step size."""
    figure, (loss, sharpness, step) = new(3, height=2.8)
    for color, label, shown in panels.by_learning_rate(cut(run, window) for run in runs.values()):
        midpoint, central = shown["midpoint"], shown["central"]
        series = (
            (loss, midpoint.loss, central.loss),
            (sharpness, midpoint.hessian_eigenvalues.isel(mode=0), central.hessian_eigenvalues.isel(mode=0)),
            (step, shown["discrete"].step_size, central.step_size),
        )
        for panel, discrete, flow in series:
            panels.line(panel, shown, "discrete", discrete, color=color, label=label)
            panels.line(panel, shown, "central", flow, color=darker(color), label=None)
    panels.flow_label(loss, next(iter(runs.values())))
    finish(sharpness, title="sharpness", ylabel="top eigenvalue")
    panels.finish_steps(loss, step)
    shared_legend(figure, loss)
    return figure


def _memory(name: str, run: Run) -> str:
    """Return the run's memory of nu as a label; runs in memory do not state it, and are called by their own names."""
    beta2 = setting(run, "optimizer", "beta2")
    return name if beta2 is None else rf"$\beta_2$ = {beta2:g}"


def _cycle(runs: dict[str, Run], window: Window | None) -> Figure:
    figure, (loss, effective, displacement, square, sharpness, nu) = new(3, 2)
    for i, (label, run) in enumerate(runs.items()):
        shown = cut(run, window)
        discrete, midpoint = shown["discrete"], shown["midpoint"]
        own = {"color": MODES[i]} | ({"label": label} if label else {})
        series = (
            (loss, discrete.loss),
            (effective, midpoint.effective_eigenvalues.isel(mode=0)),
            (displacement, panels.displacement(shown)),
            (square, discrete.gradient_norm_squared),
            (sharpness, midpoint.hessian_eigenvalues.isel(mode=0)),
            (nu, discrete.state_total),
        )
        for panel, values in series:
            panels.line(panel, shown, "discrete", values, **own)
    panels.edge(effective)
    _finish_all(
        (loss, panels.LOSS, "loss"),
        (effective, "effective sharpness", r"$\eta S/\sqrt{\nu}$"),
        (displacement, panels.DISPLACEMENT, r"[loss$^{1/2}$]"),
        (square, f"squared gradient norm, {SQUARE}", r"loss$^2$ / weight$^2$"),
        (sharpness, "sharpness", "top eigenvalue"),
        (nu, f"its average, {NU}", r"loss$^2$ / weight$^2$"),
    )
    shared_legend(figure, effective)
    if window is None:
        note(figure, NO_EDGE)
    return figure


def _finish_all(*parts: tuple[Axes, str, str]) -> None:
    for axes, title, ylabel in parts:
        finish(axes, title=title, ylabel=ylabel)
