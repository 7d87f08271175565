"""The loop of the discrete optimizer and its midpoints, indexed by the same steps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..common.errors import Stopped
from ..derivatives.eigen_tracker import EigenTracker, EigenTrackerState
from ..derivatives.evaluator import DerivativeEvaluator
from ..derivatives.point import Function, value_and_gradient
from ..optimizers.optimizer import Optimizer, State
from ..store.trajectory import Record
from .followed_directions import FollowedDirections, follow
from .input_subspace import Subspace
from .observer import Observer


class Start(NamedTuple):
    """The start of all processes.

    Attributes:
        w: weights at step 0.
        state: the optimizer's state used in step 0; it is already updated with the gradient at `w`.
        steps: steps that the optimizer took before; its step counter at step 0 is one more.
    """

    w: Float[Tensor, " p"]
    state: State
    steps: int

    @property
    def first_step(self) -> int:
        return self.steps + 1


def first_start(objective: Function, optimizer: Optimizer, w: Float[Tensor, " p"]) -> Start:
    """Return the start of an optimizer that has taken no step, at `w`."""
    _, gradient = value_and_gradient(objective, w)
    state = optimizer.update(torch.tensor(1.0, dtype=torch.float64), optimizer.initial_state(w), gradient)
    return Start(w, state, 0)


def advance(objective: Function, optimizer: Optimizer, start: Start, steps: int) -> Start:
    """Return the start that lies a number of optimizer steps later."""
    w, state, evaluator = start.w, start.state, DerivativeEvaluator(objective)
    gradient = evaluator.gradient(w)
    for t in range(start.first_step, start.first_step + steps):
        step = torch.tensor(float(t), dtype=torch.float64)
        w = torch.addcdiv(w, gradient, optimizer.preconditioner(step, state).to(w), value=-1.0)
        gradient = evaluator.gradient(w)
        state = optimizer.update(step + 1, state, gradient)
    return Start(w, state, start.steps + steps)


class DiscreteResumeState(NamedTuple):
    """The state from which a discrete run and its midpoints resume before `step`.

    It holds the weights there and one step earlier, the optimizer state and the eigenvectors of that earlier step, and
    the states of the eigen-trackers. `stop` is the reason why the run must not be continued, or None.
    """

    step: int
    w: Tensor
    state: State
    previous: Tensor | None
    directions: FollowedDirections | None
    tracked: EigenTrackerState | None
    hessians: tuple[EigenTrackerState | None, EigenTrackerState | None]
    stop: str | None


def discrete_trajectory(
    observers: tuple[Observer, Observer],
    objective: Function,
    optimizer: Optimizer,
    start: Start,
    *,
    steps: int,
    tracker: EigenTracker | None,
    subspace: Subspace | None = None,
    resume_state: DiscreteResumeState | None = None,
    stop_at_loss: float = -math.inf,
) -> Iterator[tuple[Record, Record | None]]:
    """Yield the records of $w_t$ and of its midpoint for t = 0 ... steps - 1, running the optimizer.

    The second-order midpoint $w^*_t = (w_{t-1} + 2 w_t + w_{t+1}) / 4$ averages a period-two oscillation out. At t = 0
    it does not exist, and the iterate itself takes its place. Eigenvalues are those at the midpoints with the
    preconditioner of step t.

    Args:
        observers: of the iterates and of the midpoints.
        start: weights and state at t = 0.
        tracker: tracks the effective eigenvalues at the midpoints; None leaves the midpoints out.
        subspace: where the derivatives at the midpoints are taken; all of weight space by default.
        resume_state: resume state from a record of the same run, to continue from it.
        stop_at_loss: the run ends after the first step with a loss at or below it.

    Raises:
        Stopped: the loss reached `stop_at_loss`.
        Diverged: a quantity is not finite.

    Source: arXiv:2410.24206, the definition of the midpoints.
    """
    subspace = subspace or Subspace(objective)
    iterates, midpoints = DerivativeEvaluator(objective), DerivativeEvaluator(subspace.objective)
    if resume_state is None:
        resume_state = DiscreteResumeState(0, start.w, start.state, None, None, None, (None, None), None)
    _, w, state, previous, directions, tracked, hessians, _ = resume_state
    if tracker is not None and tracked is not None:
        tracker.resume(tracked)
    for observer, hessian in zip(observers, hessians, strict=True):
        observer.resume(hessian)
    for t in range(resume_state.step, steps):
        if resume_state.stop:
            raise Stopped(resume_state.stop)
        with observers[0].at(t):
            step = torch.tensor(float(start.first_step + t), dtype=torch.float64)
            loss, gradient = iterates.value_and_gradient(w)
            observers[0].check(w, loss, gradient)
            if t > 0:
                state = optimizer.update(step, state, gradient)
            preconditioner = optimizer.preconditioner(step, state).to(w)
            record = observers[0].record(t, w, state, loss, gradient, preconditioner)
            following = torch.addcdiv(w, gradient, preconditioner, value=-1.0)
        midpoint_record = None
        if tracker is not None:
            with observers[1].at(t):
                midpoint = w if previous is None else (previous + 2 * w + following) / 4
                point = midpoints.at(subspace.coordinates(midpoint))
                observers[1].check(midpoint, point.loss, point.gradient)
                spectrum = tracker.update(point, preconditioner)
                midpoint_record = observers[1].record(
                    t, midpoint, state, point.loss, point.gradient, preconditioner, spectrum, point
                )
                directions = follow(spectrum.vectors, directions)
                offset = preconditioner.sqrt() * subspace.coordinates(w - midpoint)
                midpoint_record.values["direction"] = np.array(directions.numbers)
                midpoint_record.values["oscillation"] = (directions.vectors.T @ offset).cpu().double().numpy()
        previous, w = w, following
        stop = None if loss > stop_at_loss else f"the loss {loss:.6g} reached {stop_at_loss:g} at step {t}"
        tracked = None if tracker is None else tracker.resume_state
        hessians = tuple(observer.resume_state for observer in observers)
        resume_state = DiscreteResumeState(t + 1, w, state, previous, directions, tracked, hessians, stop)
        yield record._replace(resume_state=resume_state), midpoint_record
    if resume_state.stop:
        raise Stopped(resume_state.stop)
