"""A stored trajectory as the input of flows: its weights by step, and the start of a process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..store.trajectory import open_trajectory
from .experiment import Experiment
from .starts import start_of


def beside(experiment: Experiment, discrete: Path) -> tuple[Experiment, Callable[[int], Tensor | None]]:
    """Return the experiment with the start of a stored discrete run, and that run's weights as a function of the
    step."""
    start = start_of(discrete, experiment.optimizer, 0)
    return replace(experiment, start_from=start, warm_start=0), stored_weights(discrete)


def stored_weights(path: Path) -> Callable[[int], Tensor | None]:
    """Return a function from a step to the stored weights, or to None if they were not kept.

    It reads a block of rows at a time.
    """
    store = open_trajectory(path)
    row_of = {int(step): row for row, step in enumerate(store.saved_step.values)}
    block = store.weights.encoding["chunks"][0]
    held: dict[int, Tensor] = {}

    def at(step: int) -> Tensor | None:
        row = row_of.get(step)
        if row is None:
            return None
        index = row // block
        if index not in held:
            held.clear()
            rows = store.weights.isel(saved_step=slice(index * block, (index + 1) * block)).values
            held[index] = torch.from_numpy(rows)
        weights = held[index][row - index * block]
        return weights if torch.isfinite(weights[0]) else None  # missing after a run was stopped

    return at
