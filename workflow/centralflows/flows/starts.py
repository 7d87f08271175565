"""The start that a trajectory gives: its weights and optimizer state at one of its steps."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from ..common.errors import UnusableData
from ..optimizers.optimizer import Optimizer
from ..store.trajectory import open_trajectory
from .discrete_loop import Start

Trajectory = xr.Dataset | Path | str
"""A trajectory in memory, or the path of its store."""


def start_of(trajectory: Trajectory, optimizer: Optimizer, step: int | None = None) -> Start:
    """Return the weights and optimizer state of a trajectory at the last kept step up to `step`.

    Args:
        trajectory: of the optimizer itself or of a flow.
        optimizer: the optimizer that goes on from there; it must have the same state.
        step: the default is the last step whose weights were kept.

    Raises:
        UnusableData: this is no trajectory, it holds no weights after its first step, or not the state of this optimizer.
    """
    dataset = _opened(trajectory)
    known = {"weights", "first_step", *optimizer.state_names}
    missing = sorted(known - {*dataset.variables, *dataset.attrs})
    if missing:
        raise UnusableData(
            f"a run of {type(optimizer).__name__} cannot start from this trajectory, which holds no {', '.join(missing)}"
        )
    steps, last = dataset.saved_step.values, int(dataset.step.max()) if dataset.sizes["step"] else -1
    for row in reversed(np.flatnonzero(steps <= (steps.max(initial=-1) if step is None else step))):
        kept = dataset.isel(saved_step=row)
        weights = np.array(kept.weights.values)
        if np.isfinite(weights).all():  # unknown after a run has stopped
            if step is None and steps[row] < last:
                _say_earlier(int(steps[row]), last)
            state = tuple(torch.from_numpy(np.array(kept[name].values)) for name in optimizer.state_names)
            return Start(torch.from_numpy(weights), state, int(dataset.attrs["first_step"]) - 1 + int(steps[row]))
    raise UnusableData("the trajectory holds no weights from which a run could start")


def _opened(trajectory: Trajectory) -> xr.Dataset:
    """Return a trajectory in memory, or that of a store."""
    if isinstance(trajectory, xr.Dataset):
        return trajectory
    if isinstance(trajectory, Mapping):
        raise UnusableData(
            f"a start is one trajectory, such as start=trajectories[{next(iter(trajectory), 'discrete')!r}]"
        )
    if not isinstance(trajectory, str | Path):
        raise UnusableData(
            f"a start is a trajectory or the path of its store (got a {type(trajectory).__name__}); for a vector of weights "
            "give Experiment(..., initial_weights=)"
        )
    path = Path(trajectory)
    if not (path / "zarr.json").exists():
        stores = sorted(each.name for each in path.glob("*.zarr")) if path.is_dir() else []
        raise UnusableData(
            f"{path} is no store of a trajectory" + (f"; it holds {', '.join(stores)}" if stores else "")
        )
    return open_trajectory(path)


def _say_earlier(step: int, last: int) -> None:
    """Warn that the last weights that were kept are not those of the last step; refuse those of the first step."""
    cure = "weights_every=1 keeps those of every step"
    if step == 0:
        raise UnusableData(f"the trajectory has {last + 1} steps, and holds only the weights of its first; {cure}")
    warnings.warn(
        f"the run starts at step {step}, the last whose weights were kept, and not at step {last}; {cure}", stacklevel=4
    )
