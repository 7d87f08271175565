"""The discrete optimizer and its midpoints, on the same clock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .derivatives import Function, Points, value_and_gradient
from .observe import Observer
from .optimizers import Optimizer
from .optimizers.base import State
from .spectrum import Tracker
from .trajectory import Record


class Start(NamedTuple):
    """Where all processes start: the optimizer's weights and state after `steps` steps of its own."""

    w: Float[Tensor, " p"]
    state: State
    steps: int


def warm_start(objective: Function, optimizer: Optimizer, w: Float[Tensor, " p"], steps: int) -> Start:
    """Some steps of the optimizer itself before every process starts."""
    state = optimizer.initial_state(w)
    for t in range(steps):
        step = torch.tensor(t + 1.0, dtype=torch.float64)
        _, gradient = value_and_gradient(objective, w)
        state = optimizer.update(step, state, gradient)
        w = w - gradient / optimizer.preconditioner(step, state).to(w)
    return Start(w, state, steps)


def discrete_trajectory(
    observers: tuple[Observer, Observer],
    objective: Function,
    optimizer: Optimizer,
    start: Start,
    *,
    steps: int,
    tracker: Tracker | None,
) -> Iterator[tuple[Record, Record | None]]:
    r"""Runs the optimizer; yields the records of $w_t$ and of its midpoint for t = 0 ... steps - 1.

    The second-order midpoint $w^*_t = (w_{t-1} + 2 w_t + w_{t+1}) / 4$ averages a period-two oscillation out; there is
    none at t = 0, where the iterate itself is taken. Eigenvalues are those at the midpoints with the preconditioner of
    step t.

    Args:
        observers: of the iterates and of the midpoints.
        start: weights and state at t = 0.
        tracker: of the effective eigenvalues at the midpoints; without one the midpoints are left out.

    Raises:
        Diverged: something is not finite.

    Source: arXiv:2410.24206, the definition of the midpoints.
    """
    points = Points(objective)
    w, state, previous = start.w, start.state, None
    for t in range(steps):
        with observers[0].at(t):
            step = torch.tensor(start.steps + t + 1.0, dtype=torch.float64)
            loss, gradient = value_and_gradient(objective, w)
            observers[0].check(w, loss, gradient)
            state = optimizer.update(step, state, gradient)
            preconditioner = optimizer.preconditioner(step, state).to(w)
            record = observers[0].record(t, w, loss, gradient, preconditioner)
            following = w - gradient / preconditioner
        midpoint_record = None
        if tracker is not None:
            with observers[1].at(t):
                midpoint = w if previous is None else (previous + 2 * w + following) / 4
                point = points.at(midpoint)
                observers[1].check(midpoint, point.loss, point.gradient)
                spectrum = tracker.update(point, preconditioner)
                midpoint_record = observers[1].record(t, midpoint, point.loss, point.gradient, preconditioner, spectrum)
        yield record, midpoint_record
        previous, w = w, following
