"""Many networks at several learning rates each, with one column for each network."""

from __future__ import annotations

from matplotlib.figure import Figure

from ..analysis.windows import Window
from . import panels
from .run_view import Run, Runs, cut, network
from .style import darker, finish, legend_below
from .style import panels as new


def edge_of_stability(runs: Runs, *, window: Window | None = None) -> Figure:
    """Draw two rows: training loss, and sharpness with the edge of each learning rate."""
    columns = by_network(runs)
    figure, axes = new(len(columns), 2, width=3.2, height=2.4)
    for column, (name, members) in enumerate(columns.items()):
        loss, sharpness = axes[column], axes[len(columns) + column]
        for color, label, run in panels.by_learning_rate(cut(run, window) for run in members):
            panels.line(loss, run, "discrete", run["discrete"].loss, color=color, label=label)
            top = run["midpoint"].hessian_eigenvalues.isel(mode=0)
            panels.line(sharpness, run, "discrete", top, color=color, label=label)
            panels.edge(sharpness, run, color=color, label="_2/lr")
        finish(loss, title=name, xlabel="", ylabel="training loss" if column == 0 else "")
        finish(sharpness, title="", ylabel="sharpness" if column == 0 else "")
        legend_below(sharpness)
    return figure


def predicted_losses(runs: Runs, *, window: Window | None = None) -> Figure:
    """Draw the loss of each run, pale, and its central flow's prediction of the time average."""
    columns = by_network(runs)
    wide = min(3, len(columns))
    figure, axes = new(wide, -(-len(columns) // wide), width=3.3, height=3.0)
    for panel, (name, members) in zip(axes, columns.items(), strict=False):
        for color, label, run in panels.by_learning_rate(cut(run, window) for run in members):
            panels.line(panel, run, "discrete", run["discrete"].loss, color=color, alpha=0.5, lw=1.0, label=label)
            style = {"lw": 1.3, "color": darker(color), "label": None}
            panels.line(panel, run, "central", run["central"].predicted_loss, **style)
        panels.flow_label(panel, members[0])
        finish(panel, title=name, ylabel="training loss")
        legend_below(panel)
    for panel in axes[len(columns) :]:
        panel.set_axis_off()
    return figure


def by_network(runs: Runs) -> dict[str, list[Run]]:
    """Return the runs by the name of their network, in their order."""
    columns: dict[str, list[Run]] = {}
    for run in runs.values():
        columns.setdefault(network(run), []).append(run)
    return columns
