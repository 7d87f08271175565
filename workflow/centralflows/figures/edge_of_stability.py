"""Gradient descent at the edge of stability, without any flow."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..analysis import windows
from ..analysis.edge_offset import edge_offset
from ..analysis.windows import Window
from . import panels
from .run_view import Run, Runs, cut
from .style import LINES, MODES, finish, note, shared_legend
from .style import panels as new

NO_EDGE = "This run does not reach the edge of stability; all of it is shown."


def edge_of_stability(run: Run, *, window: Window | None = None) -> Figure:
    """Draw the training loss, and the sharpness as it rises to 2/lr and stays there."""
    return _loss_and_sharpness(cut(run, window))


def progressive_sharpening(run: Run, *, window: Window | None = None) -> Figure:
    """Draw training loss and sharpness until the sharpness has passed 2/lr."""
    found = window or windows.sharpening(run["midpoint"])
    figure = _loss_and_sharpness(cut(run, found))
    if found is None:
        note(figure, NO_EDGE)
    return figure


def one_cycle(run: Run, *, window: Window | None = None) -> Figure:
    """Draw loss, sharpness, and displacement along the top eigenvector around the first spike."""
    found = window or windows.first_blow(run["midpoint"])
    shown = cut(run, found)
    figure, (loss, sharpness, displacement) = new(3)
    panels.loss(loss, shown)
    panels.sharpness(sharpness, shown)
    panels.edge(sharpness, shown)
    oscillation(displacement, shown)
    shared_legend(figure, sharpness)
    if found is None:
        note(figure, NO_EDGE)
    return figure


def learning_rates(runs: Runs, *, window: Window | None = None) -> Figure:
    """Draw loss and sharpness at several learning rates, each with its own edge."""
    figure, (loss, sharpness) = new(2)
    for color, label, shown in panels.by_learning_rate(cut(run, window) for run in runs.values()):
        panels.line(loss, shown, "discrete", shown["discrete"].loss, color=color, label=label)
        top = shown["midpoint"].hessian_eigenvalues.isel(mode=0)
        panels.line(sharpness, shown, "discrete", top, color=color, label=label)
        panels.edge(sharpness, shown, color=color, label=rf"$2/\eta$, {label}")
    finish(loss, title=panels.LOSS, ylabel="loss")
    finish(sharpness, title="sharpness", ylabel="top eigenvalue")
    shared_legend(figure, sharpness)
    return figure


def one_unstable(run: Run, *, window: Window | None = None) -> Figure:
    """Draw loss and two eigenvalues in the first cycles, while the second eigenvalue is still below the edge."""
    found = window or windows.one_unstable(run["midpoint"])
    return _loss_and_eigenvalues(cut(run, found), count=2, remark=None if found else NO_EDGE)


def several_unstable(run: Run, *, window: Window | None = None) -> Figure:
    """Draw loss and the leading eigenvalues, which reach the edge one after the other."""
    return _loss_and_eigenvalues(cut(run, window), count=4)


def offset(runs: Runs, *, window: Window | None = None) -> Figure:
    """Draw by how much the sharpness at the edge exceeds 2/lr, at several learning rates, and what explains it."""
    known = [(rate, edge_offset(cut(run, window))) for rate, run in sorted(_rates(runs), key=lambda pair: pair[0])]
    found = [(rate, each) for rate, each in known if each is not None]
    rates = [rate for rate, _ in found]
    figure, (panel,) = new(1, width=5.6, height=3.6)
    for i, (name, label) in enumerate(
        (
            ("largest", "largest eigenvalue"),
            ("modes", "mean of those at the edge"),
            ("weighted", "weighted by squared displacement"),
        )
    ):
        values = [getattr(each, name) for _, each in found]
        panel.plot(rates, values, color=MODES[i], marker="o", ls="--" if name == "weighted" else "-", label=label)
    panel.axhline(0, **LINES["edge"])
    panel.set(
        xscale="log", xlabel="learning rate", ylabel=r"$\lambda\,\eta/2 - 1$", title="excess over the edge of stability"
    )
    panel.set_xticks(rates, [f"{rate:g}" for rate in rates], minor=False)
    panel.minorticks_off()
    panel.spines[["top", "right"]].set_visible(False)
    shared_legend(figure, panel)
    if len(found) < len(known):
        note(figure, "Runs that are not at the edge of stability for long are left out.")
    return figure


def _rates(runs: Runs) -> list[tuple[float, Run]]:
    """Return the step sizes of runs of gradient descent, which are their learning rates, with the runs."""
    return [(float(run["discrete"].step_size[0]), run) for run in runs.values()]


def oscillation(axes: Axes, run: Run) -> None:
    """Draw the iterate's displacement from its midpoint along the direction in which it is displaced most."""
    values = panels.displacement(run)
    axes.plot(values.step, values, **LINES["discrete"] | {"marker": ".", "ms": 3, "lw": 0.8})
    axes.axhline(0, **LINES["edge"])
    finish(axes, title=panels.DISPLACEMENT, ylabel=r"[loss$^{1/2}$]")


def _loss_and_sharpness(run: Run) -> Figure:
    figure, (loss, sharpness) = new(2)
    panels.loss(loss, run)
    panels.sharpness(sharpness, run)
    panels.edge(sharpness, run)
    shared_legend(figure, sharpness)
    return figure


def _loss_and_eigenvalues(run: Run, *, count: int, remark: str | None = None) -> Figure:
    figure, (loss, spectrum) = new(2)
    panels.loss(loss, run)
    panels.eigenvalues(spectrum, run, count=count, kind="hessian")
    panels.edge(spectrum, run)
    shared_legend(figure, loss, spectrum)
    if remark:
        note(figure, remark)
    return figure
