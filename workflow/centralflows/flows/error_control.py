r"""Error control of a flow: one unit of time, divided into shorter parts where its estimated error is too large.

The spectrum is solved at the end of every part, where the next part begins. The velocity there is the first of the next
part, so that the estimate costs no derivative: it is the defect of the trapezoidal rule, as for the stable flow's own
steps. Rates at the end know the spectrum there, those within the part only the frame held from its beginning. The
defect therefore contains, besides the error of the method, that of the held frame: a mode that crossed the threshold
within the part changes the velocity at its end.

A mode that arrives makes the velocity jump. Relative to the move of its own part, the error of a part with a jump is the
same however short the part is. Errors are therefore relative to a move over a whole unit of time at the same speed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor

from ..derivatives.eigen_solver import Spectrum
from ..derivatives.eigen_tracker import EigenTracker, EigenTrackerState
from ..optimizers.optimizer import State
from .flow import Flow, Frame, Snapshot
from .integrators import EARLY, Advance, Integrator
from .runge_kutta_chebyshev import rounding

SHORTEST = Fraction(1, 64)
"""Length of a part whose error is always accepted [optimizer steps]."""


class Origin(NamedTuple):
    """What a node is made from: the state before it settles, the frame before, and the tracker before its solve."""

    state: State
    frame: Frame | None
    tracked: EigenTrackerState


class Node(NamedTuple):
    """A point of a flow at which the spectrum is solved, between two parts.

    Attributes:
        time: [optimizer steps].
        w, state: weights `[p]` and settled state.
        spectrum, frame: at this point; the frame is held over the part that begins here.
        velocity: (dw/dt, ds/dt, snapshot) at this point.
        origin: what the node is made from.
    """

    time: float
    w: Tensor
    state: State
    spectrum: Spectrum
    frame: Frame
    velocity: tuple[Tensor, State, Snapshot]
    origin: Origin

    @classmethod
    def solved(
        cls, flow: Flow, time: float, w: Tensor, state: State, before: Frame | None, tracker: EigenTracker
    ) -> Node:
        """Return the node at a point, with its spectrum solved."""
        origin = Origin(state, before, tracker.resume_state)
        state, spectrum = flow.settle(time, w, state, tracker)
        frame = flow.frame(time, w, state, spectrum, before)
        with torch.no_grad():
            velocity = flow.velocity(time, w, state, frame)
        return cls(time, w, state, spectrum, frame, velocity, origin)

    def paced(self, flow: Flow, pace: int) -> Node:
        """Return the node with another number of parts per unit of time, on which the relaxation time depends."""
        frame, before = self.frame._replace(pace=pace), self.origin.frame
        with torch.no_grad():
            velocity = flow.velocity(self.time, self.w, self.state, frame)
        origin = self.origin._replace(frame=None if before is None else before._replace(pace=pace))
        return self._replace(frame=frame, velocity=velocity, origin=origin)


class Unit(NamedTuple):
    """A unit of time that was followed: the node at its end, the largest error of its parts, and their number."""

    end: Node
    error: float
    parts: int


Solve = Callable[[float, Tensor, State, Frame], Node]


def unit_of_time(flow: Flow, integrator: Integrator, begin: Node, tracker: EigenTracker, solve: Solve) -> Unit:
    """Return the unit of time that begins at a node.

    A part whose error exceeds `integrator.bound_in` its frame is redone with half its length, unless it has the shortest
    length. Where an error is an eighth of that, the next part has twice the length, also in the next unit of time.

    Args:
        tracker: the eigen-tracker, which has solved at the node.
        solve: returns the node at a time and point.

    Raises:
        Diverged, Unsolved: a part fails, and it has the shortest length or errors are not controlled.
        Stopped: a part takes more evaluations than the integrator allows.
    """
    node, done, largest, parts = begin, Fraction(0), 0.0, 0  # exact: the last part ends with the unit
    while done < 1:
        length, tracked = integrator.length(node.frame), tracker.resume_state
        bound = integrator.bound_in(node.frame)
        controlled = length > SHORTEST and not math.isinf(bound)
        try:
            after, error, steps = _part(flow, integrator, node, begin.time + float(done + length), solve)
        except ArithmeticError:
            if not controlled:
                raise
            error = math.inf
        if controlled and not error <= bound:
            tracker.resume(tracked)
            node = node.paced(flow, 2 * node.frame.pace)
            continue
        largest = largest if largest >= error else error  # NaN if it is not known
        node, done, parts = after, done + length, parts + steps
        # The error grows with the square of the length.
        if 8 * error < bound and length < 1 and done % (2 * length) == 0:
            node = node.paced(flow, node.frame.pace // 2)
    return Unit(node, largest, parts)


def _part(flow: Flow, integrator: Integrator, node: Node, end: float, solve: Solve) -> tuple[Node, float, int]:
    """Return the node at the end of a part, the error of the part, and the number of its controlled steps."""
    ahead = integrator.advance(flow, node.time, node.w, node.state, node.frame, node.velocity)
    after = solve(end, ahead.w, ahead.state, ahead.frame)
    error = ahead.error if ahead.quadrature is None else part_error(flow, node, ahead, after)
    return after, error, ahead.steps


def part_error(flow: Flow, node: Node, ahead: Advance, after: Node) -> float:
    """Return the error of a part, relative to a move over a unit of time.

    The error of the state counts as the error of the move that its preconditioner causes in a unit of time.
    """
    end, length = after.time - EARLY, after.time - node.time
    rates = after.velocity
    held, now = (flow.preconditioner(time, ahead.w, ahead.state) for time in (end, after.time))
    if not torch.allclose(held, now, rtol=1e-4, atol=0.0):  # the learning rate jumps
        with torch.no_grad():
            rates = flow.velocity(end, ahead.w, ahead.state, node.frame)
    ahead.quadrature.add(after.time, (rates[0], *rates[1]))
    defect, *state_defect = ahead.quadrature.total
    move = ahead.w - node.w
    defect = defect - move
    parts = [defect, move]
    if ahead.state:
        wrong = tuple(d - (s - b) for d, s, b in zip(state_defect, ahead.state, node.state, strict=True))
        change = flow.optimizer.preconditioner_rate(flow.step(end), ahead.state, 0.0, wrong).to(move)
        parts.append(change / held * move / length)
    norm, error, whole, *indirect = torch.stack([torch.linalg.vector_norm(part) for part in (ahead.w, *parts)]).tolist()
    if error <= rounding(ahead.w, norm, float(node.frame.values[0]) * length):
        error = 0.0
    error = math.hypot(error, *indirect)
    return error * length / whole if error and whole else error and math.inf
