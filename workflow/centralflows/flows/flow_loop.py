"""The loop of a flow over time: for each unit of time (one optimizer step) it solves the spectrum, then integrates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from torch import Tensor

from ..common.errors import Stopped
from ..derivatives.eigen_tracker import EigenTracker, EigenTrackerState
from ..optimizers.optimizer import State
from ..store.trajectory import Record
from .discrete_loop import Start
from .flow import Flow, Frame
from .input_subspace import Subspace
from .integrators import Integrator
from .observer import Observer, oscillation_values


class FlowResumeState(NamedTuple):
    """The state from which a flow resumes before `step`.

    It holds the coordinates in the flow's subspace, the optimizer state, the frame of the previous unit of time, and
    the states of both eigen-trackers. `stop` is the reason why the flow must not be continued, or None.
    """

    step: int
    w: Tensor
    state: State
    frame: Frame | None
    tracked: EigenTrackerState
    hessian: EigenTrackerState | None
    stop: str | None


def flow_trajectory(
    observer: Observer,
    flow: Flow,
    integrator: Integrator,
    start: Start,
    *,
    steps: int,
    tracker: EigenTracker,
    resume_state: FlowResumeState | None = None,
    discrete_weights: Callable[[int], Tensor | None] = lambda step: None,
    subspace: Subspace | None = None,
    stop_at_sharpness: float = math.inf,
    stop_at_loss: float = -math.inf,
) -> Iterator[Record]:
    """Yield the records of a flow at t = 0 ... steps - 1.

    Args:
        observer: measures the flow.
        integrator: integrates each unit of time.
        start: weights and state at t = 0; its step counter must be `flow.first_step`.
        tracker: tracks the effective eigenvalues, solved once per unit of time.
        resume_state: resume state from a record of the same flow, to continue from it.
        discrete_weights: returns the discrete iterate at a step, or None if it is not known.
        subspace: where the flow moves; all of weight space by default. `start` and `discrete_weights` always refer to
            all weights.
        stop_at_sharpness: the flow ends before the first step with a larger effective sharpness.
        stop_at_loss: the flow ends after the first step with L(w) at or below it.

    Raises:
        Diverged: a quantity is not finite.
        Unsolved: the complementarity problem has no solution (see `complementarity`).
        Stopped: the flow reached a limit, or a unit of time took more evaluations than the integrator allows.
    """
    subspace = subspace or Subspace(flow.evaluator.objective)
    if resume_state is None:
        resume_state = FlowResumeState(
            0, subspace.coordinates(start.w), start.state, None, tracker.resume_state, None, None
        )
    _, w, state, frame, tracked, hessian, _ = resume_state
    tracker.resume(tracked)
    observer.resume(hessian)
    for t in range(resume_state.step, steps):
        if resume_state.stop:
            raise Stopped(resume_state.stop)
        with observer.at(t):
            point = flow.evaluator.at(w)
            observer.check(w, point.loss, point.gradient)
            state, spectrum = flow.settle(t, w, state, tracker)
            sharpness = spectrum.values[0].item()
            if sharpness > stop_at_sharpness:
                raise Stopped(f"effective sharpness {sharpness:.1f} passed {stop_at_sharpness:g} at step {t}")
            frame = flow.frame(float(t), w, state, spectrum, frame)
            following, following_state, snapshot, frame = integrator.advance(flow, float(t), w, state, frame)
            record = observer.record(
                t,
                subspace.weights(w),
                state,
                point.loss,
                point.gradient,
                snapshot.preconditioner,
                spectrum,
                point,
                snapshot.oscillation,
            )
        discrete = discrete_weights(t)
        offset = None if discrete is None else subspace.coordinates(discrete) - w
        if offset is not None:
            record.values["distance"] = offset.double().norm().item()
        if flow.averages:
            measured = oscillation_values(snapshot.oscillation, record.values, snapshot.preconditioner, offset)
            record.values.update(measured)
        w, state = following, following_state
        stop = None if point.loss > stop_at_loss else f"the loss {point.loss:.6g} reached {stop_at_loss:g} at step {t}"
        resume_state = FlowResumeState(t + 1, w, state, frame, tracker.resume_state, observer.resume_state, stop)
        yield record._replace(resume_state=resume_state)
    if resume_state.stop:
        raise Stopped(resume_state.stop)
