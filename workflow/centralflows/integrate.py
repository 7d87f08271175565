r"""Integration of a flow over one unit of time (one optimizer step): through torchdiffeq, or by steps of our own.

torchdiffeq keeps every state it is asked for in memory, so each call covers one unit and the loop is ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor
from torchdiffeq import odeint

from .chebyshev import chebyshev_step, moved, stages_for, step_error
from .discrete import Start
from .errors import Stopped
from .flows import Flow, Frame, Snapshot
from .observe import Observer, oscillation_values
from .optimizers.base import State
from .span import Span
from .tracker import Tracked, Tracker
from .trajectory import Record

FIXED_STEP = ("euler", "midpoint", "heun2", "heun3", "rk4")
ADAPTIVE = ("bosh3", "dopri5")
MULTISTAGE = ("jameson3",)
STABILISED = ("rkc2",)
SHORTEST = Fraction(1, 4096)  # step whose error is not looked at any more [optimizer steps]
WITHIN = 1 - 1e-6  # where the last velocity of a unit of time is taken: at its end the next learning rate holds already
FAST = 20  # directions that may be as stiff as the stiffest
MILD = 1.2  # effective sharpness up to which one velocity less makes no larger an error than there is at the edge
METHODS = FIXED_STEP + MULTISTAGE + ADAPTIVE + STABILISED

Velocity = Callable[[Tensor | float, State], State]


@dataclass(frozen=True)
class Integrator:
    """How a unit of time is divided.

    Attributes:
        method: of torchdiffeq, with fixed or adaptive steps; "jameson3", a second-order method of three stages whose error is
            as small far from z = 0; or "rkc2" (see `chebyshev`). Euler with 4 substeps is the published discretisation.
        substeps: least number of equal steps per unit of time; of an adaptive method, the first step is as long as these;
            "rkc2" chooses its own.
        proportional: `method` and `substeps` are those at the edge of stability; the error, which depends on their length
            times the sharpness, allows for fewer velocities below it, and asks for more above.
        substeps_per_sharpness: further substeps for a stiff flow, per unit of effective sharpness (Euler and Heun are stable
            from 1/2 on; 0.6 allows for growth by a fifth within the unit). "rkc2" takes more stages instead, as far stable.
        tolerance: on the error of a step of "rkc2", relative to how far it goes.
        rtol, atol: error tolerances of an adaptive method of torchdiffeq, per step.
        evaluations: most velocities that a unit of time may cost.
    """

    method: str = "euler"
    substeps: int = 4
    substeps_per_sharpness: float = 0.0
    tolerance: float = 3e-2
    rtol: float = 1e-5
    atol: float = 1e-7
    evaluations: int = 10_000
    proportional: bool = False

    def __post_init__(self):
        if self.method not in METHODS:
            raise ValueError(f"unknown method {self.method!r}; choose one of {', '.join(METHODS)}")
        if self.method in STABILISED and self.substeps_per_sharpness < 0.5:
            raise ValueError(f"{self.method} needs substeps_per_sharpness of at least 1/2")

    def count(self, frame: Frame) -> int:
        """Number of substeps at a frame."""
        sharpness = float(frame.values[0])
        if self.proportional:
            # At the edge the sharpness is 2 up to rounding, which may not cost another step: hence nine tenths.
            return frame.pace * max(1, math.ceil(0.9 * self.substeps * sharpness / 2))
        return max(self.substeps, math.ceil(self.substeps_per_sharpness * sharpness))

    def scheme(self, frame: Frame) -> str:
        """Method at a frame."""
        return "heun2" if self.proportional and self.method in MULTISTAGE and frame.values[0] < MILD else self.method

    def advance(
        self, flow: Flow, time: float, w: Tensor, state: State, frame: Frame
    ) -> tuple[Tensor, State, Snapshot, Frame]:
        """(w, s) one unit of time later, the snapshot at the start of the unit, and the frame with the pace at its end.

        Raises:
            Stopped: the unit costs more than `evaluations`.
        """
        snapshots: list[Snapshot] = []
        spent, last = 0, time + WITHIN

        def velocity(t: Tensor | float, y: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            nonlocal spent
            spent += 1
            if spent > self.evaluations:
                raise Stopped(f"step {time:.0f} takes more than {self.evaluations} evaluations of the velocity")
            t = t.clamp(max=last) if isinstance(t, Tensor) else min(t, last)
            dw, ds, snapshot = flow.velocity(t, y[0], y[1:], frame)
            if not snapshots:
                snapshots.append(snapshot)
            return dw, *ds

        with torch.no_grad():
            if self.method in STABILISED:
                (w, *state), frame = self._stabilised(flow, velocity, time, (w, *state), frame)
            elif self.scheme(frame) in MULTISTAGE:
                w, *state = self._multistage(velocity, time, (w, *state), frame)
            else:
                w, *state = self._solved(velocity, time, (w, *state), frame)
        return w, tuple(state), snapshots[0], frame

    def _solved(self, velocity: Velocity, time: float, y: State, frame: Frame) -> State:
        times = torch.tensor([time, time + 1.0], dtype=torch.float64, device=y[0].device)
        adaptive = self.method in ADAPTIVE
        options = {"first_step" if adaptive else "step_size": 1.0 / self.count(frame)}
        tolerances = {"rtol": self.rtol, "atol": self.atol} if adaptive else {}
        paths = odeint(velocity, y, times, method=self.scheme(frame), options=options, **tolerances)
        # Copies, aligned in memory as those are that a later process reads: rounding may depend on it.
        return tuple(path[-1].clone() for path in paths)

    def _multistage(self, velocity: Velocity, time: float, y: State, frame: Frame) -> State:
        r"""Three stages, each from the beginning of the step, over 1/4, 1/2 and all of it: on $y' = \lambda y$ the factor
        $1 + z + z^2/2 + z^3/8$, which errs by less than 0.14 down to $z = -2$, vanishes there, and is stable to -3.07.

        Source: A. Jameson, W. Schmidt, E. Turkel, AIAA paper 81-1259 (1981).
        """
        step = 1.0 / self.count(frame)
        for i in range(self.count(frame)):
            begin, passed = y, 0.0
            for length in (0.25 * step, 0.5 * step, step):
                rates = velocity(time + i * step + passed, y)
                y = tuple(torch.add(part, rate, alpha=length) for part, rate in zip(begin, rates, strict=True))
                passed = length
        return y

    def _stabilised(self, flow: Flow, velocity: Velocity, time: float, y: State, frame: Frame) -> tuple[State, Frame]:
        """Steps are halved where their error asks for it, and doubled where they can be, also from one unit of time to the
        next."""
        stiffness = 2 * self.substeps_per_sharpness * max(0.0, float(frame.values[0]))
        step, done = Fraction(1, frame.pace), Fraction(0)  # exact, so that the last step ends with the unit
        # What the last bits of the weights make of a rate: all that is left of it at a minimum. Each weight is rounded on its
        # own, so that of all this the few fast directions hold as much as others do.
        bits = 4 * torch.finfo(y[0].dtype).eps * torch.linalg.vector_norm(y[0]).item()
        fast = min(1.0, FAST / len(y[0])) ** 0.5
        rates = velocity(time, y)
        while done < 1:
            move = chebyshev_step(velocity, time + float(done), y, rates, float(step), stages_for(stiffness * step))
            ahead = moved(y, move)
            done += step
            if done == 1:
                flow.points.at(ahead[0])  # the next unit of time begins with the graph of this gradient
            rates_ahead = velocity(time + float(done), ahead)
            error = step_error(
                move[0], rates[0], rates_ahead[0], float(step), bits * (1 + fast * stiffness * float(step))
            )
            if error > self.tolerance and step > SHORTEST:
                done, step = done - step, step / 2
                continue
            y, rates = ahead, rates_ahead
            # The error grows with the square of the step.
            if 8 * error < self.tolerance and step < 1 and done % (2 * step) == 0:
                step = 2 * step
        return y, frame._replace(pace=int(1 / step))


class FlowPosition(NamedTuple):
    """What a flow goes on from: before `step`, coordinates in its span and state there, and what was known of the unit of
    time before.

    `stop` says why it does not go on, if it does not.
    """

    step: int
    w: Tensor
    state: State
    frame: Frame | None
    tracked: Tracked
    hessian: Tracked | None
    stop: str | None


def flow_trajectory(
    observer: Observer,
    flow: Flow,
    integrator: Integrator,
    start: Start,
    *,
    steps: int,
    tracker: Tracker,
    position: FlowPosition | None = None,
    discrete_weights: Callable[[int], Tensor | None] = lambda step: None,
    span: Span | None = None,
    stop_at_sharpness: float = math.inf,
    stop_at_loss: float = -math.inf,
) -> Iterator[Record]:
    """Integrates a flow; yields its record at t = 0 ... steps - 1.

    Args:
        observer: measures the flow.
        integrator: how each unit of time is divided.
        start: weights and state at t = 0; `flow.first_step` is its own.
        tracker: of the effective eigenvalues, solved for once per unit of time.
        position: of a record of the same flow, to go on from it.
        discrete_weights: the discrete iterate at a step, or None where it is not known.
        span: where the flow moves; in all weights without. `start` and `discrete_weights` are in all weights in any case.
        stop_at_sharpness: largest effective sharpness that the flow is followed to.
        stop_at_loss: the flow ends after the first step whose loss L(w) is not above it.

    Raises:
        Diverged: something is not finite.
        Unsolved: the complementarity problem was not (see `complementarity`).
        Stopped: a limit was reached, or a unit of time took more evaluations than the integrator allows.
    """
    span = span or Span(flow.points.objective)
    if position is None:
        position = FlowPosition(0, span.coordinates(start.w), start.state, None, tracker.position, None, None)
    _, w, state, frame, tracked, hessian, _ = position
    tracker.resume(tracked)
    observer.resume(hessian)
    for t in range(position.step, steps):
        if position.stop:
            raise Stopped(position.stop)
        with observer.at(t):
            point = flow.points.at(w)
            observer.check(w, point.loss, point.gradient)
            state, spectrum = flow.settle(t, w, state, tracker)
            sharpness = spectrum.values[0].item()
            if sharpness > stop_at_sharpness:
                raise Stopped(f"effective sharpness {sharpness:.1f} passed {stop_at_sharpness:g} at step {t}")
            frame = flow.frame(float(t), w, state, spectrum, frame)
            following, following_state, snapshot, frame = integrator.advance(flow, float(t), w, state, frame)
            record = observer.record(
                t,
                span.weights(w),
                state,
                point.loss,
                point.gradient,
                snapshot.preconditioner,
                spectrum,
                point,
                snapshot.oscillation,
            )
        discrete = discrete_weights(t)
        offset = None if discrete is None else span.coordinates(discrete) - w
        if offset is not None:
            record.values["distance"] = offset.double().norm().item()
        if flow.averages:
            measured = oscillation_values(snapshot.oscillation, record.values, snapshot.preconditioner, offset)
            record.values.update(measured)
        w, state = following, following_state
        stop = None if point.loss > stop_at_loss else f"the loss {point.loss:.6g} reached {stop_at_loss:g} at step {t}"
        position = FlowPosition(t + 1, w, state, frame, tracker.position, observer.position, stop)
        yield record._replace(position=position)
    if position.stop:
        raise Stopped(position.stop)
