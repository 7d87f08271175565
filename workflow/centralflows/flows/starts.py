"""The start that a trajectory gives: its weights and optimizer state at one of its steps."""

from __future__ import annotations

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
        UnusableData: the trajectory holds no such weights, or not the state of this optimizer.
    """
    dataset = trajectory if isinstance(trajectory, xr.Dataset) else open_trajectory(trajectory)
    known = {"weights", "first_step", *optimizer.state_names}
    missing = sorted(known - {*dataset.variables, *dataset.attrs})
    if missing:
        raise UnusableData(
            f"a run of {type(optimizer).__name__} cannot start from this trajectory, which holds no {', '.join(missing)}"
        )
    steps = dataset.saved_step.values
    for row in reversed(np.flatnonzero(steps <= (steps.max(initial=-1) if step is None else step))):
        kept = dataset.isel(saved_step=row)
        weights = np.array(kept.weights.values)
        if np.isfinite(weights).all():  # unknown after a run has stopped
            state = tuple(torch.from_numpy(np.array(kept[name].values)) for name in optimizer.state_names)
            return Start(torch.from_numpy(weights), state, int(dataset.attrs["first_step"]) - 1 + int(steps[row]))
    raise UnusableData("the trajectory holds no weights from which a run could start")
