"""One quantity of one's own trajectories, on given axes or in a figure of its own.

Every function takes what `Experiment.run` returns, a Dataset for each process, and returns the axes. The curves have the
colours and names that they have in the figures of the paper. Midpoints stand for the optimizer in quantities that it
is not measured in itself, for example eigenvalues. On given axes (`ax=`) only curves, axis labels, and a legend if there is
none are added; without them a new figure is drawn: `axes.figure`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import xarray as xr
from matplotlib.axes import Axes

from ..analysis.crossings import EDGE
from ..analysis.time_series import time_average
from ..config.messages import instead
from ..store.trajectory import PROCESSES, VARIABLES
from . import panels
from .run_view import NotShown, Run, names
from .style import LINES, MODES, finish, styled
from .style import panels as new

Curves = Mapping[str, xr.DataArray]

DASHES = {1: (0, (5, 1.5, 1, 1.5)), 2: (0, (1, 1))}
"""Lines of the second and third process in a panel whose style is that of an earlier one, such as stable and ablated."""

CURES = {
    "accuracy": "Experiment(..., accuracy_every=10) records it, if the targets are class labels",
    "test_accuracy": "Experiment(..., accuracy_every=10, test=(inputs, labels)) records it",
    "outputs": "Experiment(..., examples=inputs[:3]) records them",
    "gradient_squared": "Experiment(..., coordinates=6) records those of single weights",
    "predicted_gradient_squared": "Experiment(..., coordinates=6) records those of single weights",
    "state_coordinates": "Experiment(..., coordinates=6) records it, if the optimizer has a state for each weight",
    "state_total": "the optimizer has no state",
    "hessian_eigenvalues": "Experiment(..., spectrum=SpectrumConfig(hessian_every=1)) records them",
    "distance": "the weights of the discrete run must be kept at every step",
    "displacement": "it is known while the flow is at the edge, if the discrete run's weights are kept at every step",
    "variances": "the flow has none before it is at the edge of stability",
}
"""How a variable is recorded that a process may lack."""


def loss(trajectories: Run, ax: Axes | None = None) -> Axes:
    """Draw the training loss [loss]; for a flow that predicts its time average, the prediction.

    Raises:
        NotShown: no process holds it.
    """
    return _drawn(trajectories, _predicted(trajectories, "loss"), ax, "training loss")


def gradient_norm(trajectories: Run, ax: Axes | None = None) -> Axes:
    """Draw the squared gradient norm [loss^2 / weight^2]; for a flow that predicts its time average, the prediction.

    Raises:
        NotShown: no process holds it.
    """
    curves = _predicted(trajectories, "gradient_norm_squared")
    return _drawn(trajectories, curves, ax, _with_units("squared gradient norm", curves))


def sharpness(trajectories: Run, ax: Axes | None = None, *, modes: int = 1) -> Axes:
    """Draw the effective sharpness, the top eigenvalue of the effective Hessian, and the edge of stability at 2.

    In a figure of its own, curves of flows without the curvature penalty may leave the panel at the top.

    Args:
        modes: number of leading eigenvalues.

    Raises:
        NotShown: no process holds them.
    """
    if modes < 1:
        raise NotShown(f"modes must be at least 1 (got {modes})")
    found = _curves(trajectories, "effective_eigenvalues")
    curves = {process: values.isel(mode=slice(modes)) for process, values in found.items()}
    label = "effective sharpness" if modes == 1 else "effective eigenvalues"
    with _on(ax, label) as axes:
        _plot(axes, trajectories, curves)
        panels.edge(axes)
        bounded = [float(values.max()) for process, values in curves.items() if process not in ("stable", "ablated")]
        if ax is None and bounded:
            axes.set_ylim(top=1.1 * max(EDGE, *bounded))
    return axes


def distance(trajectories: Run, ax: Axes | None = None) -> Axes:
    """Draw the Euclidean distance [weight] of each flow to the discrete run at the same step.

    Raises:
        NotShown: no flow holds it.
    """
    curves = _curves(trajectories, "distance")
    label = _with_units(f"distance to {names(trajectories)['discrete']}", curves)
    return _drawn(trajectories, curves, ax, label)


def accuracy(trajectories: Run, ax: Axes | None = None, *, test: bool = False) -> Axes:
    """Draw the fraction of labels that the network gets right, of the training data or of the test data.

    Raises:
        NotShown: no process holds it.
    """
    name = "test_accuracy" if test else "accuracy"
    label = "test accuracy" if test else "training accuracy"
    return _drawn(trajectories, _curves(trajectories, name), ax, label)


def variance(trajectories: Run, ax: Axes | None = None, *, modes: int = 1, width: float = 12.0) -> Axes:
    """Draw the squared displacement of the optimizer from its central flow, its time average, and the predicted variance.

    They are along the leading eigenvectors of Sigma, in P-normalised units [loss].

    Args:
        modes: number of eigenvectors.
        width: standard deviation of the Gaussian time average [steps].

    Raises:
        NotShown: there is no central flow, or it does not reach the edge of stability.
    """
    if "central" not in trajectories:
        raise NotShown(
            f"variance shows the central flow, and there is only {_listed(trajectories)}; name it in Experiment.run([...])"
        )
    central = {"central": trajectories["central"]}
    displacement, predicted = (_curves(central, name)["central"] for name in ("displacement", "variances"))
    with _on(ax, r"squared displacement along $u_i$ [loss]" if modes > 1 else "squared displacement [loss]") as axes:
        for mode in range(min(modes, predicted.sizes["mode"])):
            squared = displacement.isel(mode=mode) ** 2
            which = f" {mode + 1}" if modes > 1 else ""
            labels = (f"squared displacement{which}", f"its time average{which}", "central flow's variance")
            labels = labels if mode == 0 else (*labels[:2], None)
            average = time_average(squared, width=width)
            panels.averaged(axes, squared, average, predicted.isel(mode=mode), labels=labels, color=MODES[mode])
    return axes


def quantity(trajectories: Run, name: str, ax: Axes | None = None, **entries: int) -> Axes:
    """Draw a recorded variable of every process that holds it.

    Args:
        name: of the variable, for example "step_size"; `list(trajectories["central"])` names them.
        entries: positions along dimensions besides time, for example `mode=0`, or `example=0, output=1`; every entry is
            drawn along those that are not given.

    Raises:
        NotShown: no process holds the variable, or it has no such entry.
    """
    found = _curves(trajectories, name)
    try:
        curves = {process: values.isel(entries) for process, values in found.items()}
    except (ValueError, IndexError) as error:
        sizes = {dim: size for dim, size in next(iter(found.values())).sizes.items() if dim != "step"}
        raise NotShown(f"{name} has no entry {entries}; its dimensions besides time are {sizes}") from error
    return _drawn(trajectories, curves, ax, _with_units(name.replace("_", " ").replace("hessian", "Hessian"), curves))


def _curves(run: Run, *candidates: str) -> dict[str, xr.DataArray]:
    """Return for each process the first of some variables that it holds, by process."""
    found: dict[str, xr.DataArray] = {}
    for process in PROCESSES:
        shown = "discrete" if process == "midpoint" else process
        for name in candidates:
            values = run[process].get(name) if process in run else None
            if values is not None and "step" in values.dims and values.notnull().any():
                found.setdefault(shown, values)
                break
    if not found:
        raise NotShown(_lacking(run, candidates[-1]))
    return found


def _predicted(run: Run, name: str) -> dict[str, xr.DataArray]:
    return _curves(run, f"predicted_{name}", name)


def _lacking(run: Run, name: str) -> str:
    """Return what is lacking, and how it is recorded."""
    if isinstance(run, xr.Dataset):
        return "give the trajectories by process, as Experiment.run() returns them, not one of them"
    if name not in VARIABLES:
        known = dict.fromkeys(
            str(variable) for data in run.values() for variable in data if "step" in data[variable].dims
        )
        return f"no variable over steps is called {name!r}{instead(name, known)}"
    recorded_in = [process for process, variables in PROCESSES.items() if name in variables]
    if not any(process in run for process in recorded_in):
        where = ", ".join(recorded_in)
        return f"{name} is recorded in {where}, and there is only {_listed(run)}; name one of them in Experiment.run([...])"
    return f"no known value of {name} is in {_listed(run)}" + (f"; {CURES[name]}" if name in CURES else "")


def _listed(run: Run) -> str:
    return ", ".join(map(str, run)) or "nothing"


def _drawn(run: Run, curves: Curves, ax: Axes | None, label: str) -> Axes:
    with _on(ax, label) as axes:
        _plot(axes, run, curves)
    return axes


@contextmanager
def _on(ax: Axes | None, label: str) -> Iterator[Axes]:
    """Give axes to draw on, and label them."""
    if ax is not None:
        yield ax
        ax.set(xlabel="step", ylabel=label)
        if ax.get_legend() is None and not ax.figure.legends:
            ax.legend()
        return
    with styled():
        _, (axes,) = new(1, width=5.6, height=3.8)
        yield axes
        finish(axes, title="", ylabel=label)
        axes.figure.legend(loc="outside lower center", ncols=2, handlelength=2.2)  # where it cannot cover a curve


def _plot(axes: Axes, run: Run, curves: Curves) -> None:
    """Draw every entry of each process's values in the style of the process, with one entry in the legend."""
    drawn: list[object] = []
    for process, values in curves.items():
        style = {} if LINES[process] not in drawn else {"ls": DASHES[drawn.count(LINES[process])]}
        drawn.append(LINES[process])
        others = [dim for dim in values.dims if dim != "step"]
        entries = values.stack(entry=others) if others else values.expand_dims("entry")
        for i in range(entries.sizes["entry"]):
            panels.line(axes, run, process, entries.isel(entry=i), **style, **({} if i == 0 else {"label": None}))


def _with_units(label: str, curves: Curves) -> str:
    units = next(iter(curves.values())).attrs.get("units", "1")
    shown = re.sub(r"\^([0-9/]+)", r"$^{\1}$", units)
    return label if units in ("1", label) else f"{label} [{shown}]"
