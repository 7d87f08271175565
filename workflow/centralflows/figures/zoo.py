"""Many networks at several learning rates each, with one column for each network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from matplotlib.figure import Figure

from ..analysis.windows import Window
from . import panels
from .run_view import Run, Runs, cut, learning_rate, network
from .style import MODES, finish, headroom
from .style import panels as new


def edge_of_stability(runs: Runs, *, window: Window | None = None) -> Figure:
    """Draw two rows: training loss, and sharpness with the edge of each learning rate."""
    columns = by_network(runs)
    figure, axes = new(len(columns), 2, width=3.0, height=2.3)
    for column, (name, members) in enumerate(columns.items()):
        loss, sharpness = axes[column], axes[len(columns) + column]
        for color, label, run in _members(members, window):
            panels.line(loss, run, "discrete", run["discrete"].loss, color=color, label=label)
            top = run["midpoint"].hessian_eigenvalues.isel(mode=0)
            panels.line(sharpness, run, "discrete", top, color=color, label=label)
            panels.edge(sharpness, run, color=color)
        headroom(loss)
        finish(
            loss, title=name, xlabel="", ylabel="training loss" if column == 0 else "", legend="upper right", ncols=2
        )
        finish(sharpness, title="", ylabel="sharpness" if column == 0 else "")
    return figure


def predicted_losses(runs: Runs, *, window: Window | None = None) -> Figure:
    """Draw the loss of each run, pale, and its central flow's prediction of the time average."""
    columns = by_network(runs)
    wide = min(3, len(columns))
    figure, axes = new(wide, -(-len(columns) // wide), width=3.1, height=2.4)
    for panel, (name, members) in zip(axes, columns.items(), strict=False):
        for i, (color, label, run) in enumerate(_members(members, window)):
            panels.line(panel, run, "discrete", run["discrete"].loss, color=color, alpha=0.6, lw=1.0, label=label)
            style = {"lw": 1.3, "label": "central flow" if i == len(members) - 1 else None}
            panels.line(panel, run, "central", run["central"].predicted_loss, **style)
        headroom(panel)
        finish(panel, title=name, ylabel="training loss", legend="upper right", ncols=2)
    for panel in axes[len(columns) :]:
        panel.set_axis_off()
    return figure


def by_network(runs: Runs) -> dict[str, list[Run]]:
    """Return the runs by the name of their network, in their order."""
    columns: dict[str, list[Run]] = {}
    for run in runs.values():
        columns.setdefault(network(run), []).append(run)
    return columns


def _members(members: list[Run], window: Window | None) -> Iterator[tuple[Any, str, Run]]:
    """Yield colour, label and shown steps of each run of a column."""
    for i, run in enumerate(members):
        yield MODES[i % len(MODES)], learning_rate(run), cut(run, window)
