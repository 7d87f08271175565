"""The loop of a flow over time: it follows one unit of time (one optimizer step) after the other, and records its end."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

from torch import Tensor

from ..common.errors import Stopped
from ..derivatives.eigen_tracker import EigenTracker, EigenTrackerState
from ..optimizers.optimizer import State
from ..store.trajectory import Record
from .discrete_loop import Start
from .error_control import Node, Unit, unit_of_time
from .flow import Flow, Frame
from .input_subspace import Subspace
from .integrators import Integrator
from .observer import Observer, oscillation_values


class FlowResumeState(NamedTuple):
    """The state from which a flow resumes before `step`: what the node of the step before is made from.

    It holds the coordinates in the flow's subspace, the optimizer state, and the frame before that node. `tracked` is
    the eigen-tracker before the solve at the node, and `hessian` that of the Hessian after its own. `stop` is the reason
    why the flow must not be continued, or None. A flow that resumes makes the node again, to the last bit.
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
        integrator: integrates each unit of time, or the parts into which error control divides it.
        start: weights and state at t = 0; its step counter must be `flow.first_step`.
        tracker: tracks the effective eigenvalues, solved at the end of each part.
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
            0, subspace.coordinates(start.w), start.state, None, tracker.resume_state, observer.resume_state, None
        )
    tracker.resume(resume_state.tracked)
    observer.resume(resume_state.hessian)

    def solve(time: float, w: Tensor, state: State, before: Frame | None) -> Node:
        point = flow.evaluator.at(w)
        observer.check(w, point.loss, point.gradient)
        return Node.solved(flow, time, w, state, before, tracker)

    node, warned = None, False
    for t in range(resume_state.step, steps):
        if resume_state.stop:
            raise Stopped(resume_state.stop)
        with observer.at(t):
            if node is None:  # of step 0, or of the step before the first one that is to be recorded
                node = solve(float(max(t - 1, 0)), resume_state.w, resume_state.state, resume_state.frame)
            unit = unit_of_time(flow, integrator, node, tracker, solve) if t else Unit(node, 0.0, 0)
        node, (_, _, snapshot) = unit.end, unit.end.velocity
        sharpness = node.spectrum.values[0].item()
        if sharpness > stop_at_sharpness:
            raise Stopped(f"effective sharpness {sharpness:.1f} passed {stop_at_sharpness:g} at step {t}")
        if unit.error > integrator.bound and not warned:
            warned = True
            warnings.warn(
                f"{observer.process}: step {t} has an estimated error of {unit.error:.2g} even in its shortest parts "
                f"(bound {integrator.bound:g}); later ones are recorded only (step_error)",
                stacklevel=2,
            )
        w, point = node.w, flow.evaluator.at(node.w)
        with observer.at(t):
            record = observer.record(
                t,
                subspace.weights(w),
                node.state,
                point.loss,
                point.gradient,
                snapshot.preconditioner,
                node.spectrum,
                point,
                snapshot.oscillation,
            )
        record.values.update(step_error=unit.error, step_parts=unit.parts)
        discrete = discrete_weights(t)
        offset = None if discrete is None else subspace.coordinates(discrete) - w
        if offset is not None:
            record.values["distance"] = offset.double().norm().item()
        if flow.averages:
            measured = oscillation_values(snapshot.oscillation, record.values, snapshot.preconditioner, offset)
            record.values.update(measured)
        stop = None if point.loss > stop_at_loss else f"the loss {point.loss:.6g} reached {stop_at_loss:g} at step {t}"
        del point  # with its autograd graph, before another is made
        state, before, tracked = node.origin
        resume_state = FlowResumeState(t + 1, w, state, before, tracked, observer.resume_state, stop)
        yield record._replace(resume_state=resume_state)
    if resume_state.stop:
        raise Stopped(resume_state.stop)
