"""Integrators of a flow over one unit of time (one optimizer step) or a part of it: methods of torchdiffeq and two others.

torchdiffeq keeps every requested state in memory, so each call covers one unit of time.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, fields
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from ..common.errors import Stopped
from ..config.processes import IntegrationConfig
from ..optimizers.optimizer import State
from .flow import Flow, Frame, Snapshot
from .runge_kutta_chebyshev import chebyshev_step, moved, rounding, stages_for, step_error

Velocity = Callable[[Tensor | float, State], State]

EARLY = 1e-6
"""The last velocity is taken this much before the end: at the very end, the next learning rate may already hold."""


class Quadrature:
    """The integral of rates over time by the trapezoidal rule, rates added in the order of time.

    It is of second order, like most methods here, so that its difference from a method's move shows the error of both.
    """

    def __init__(self):
        self.total: State = ()
        self._time, self._rates = 0.0, None

    def add(self, time: Tensor | float, rates: State) -> None:
        time = float(time)
        if self._rates is not None:
            half = (time - self._time) / 2
            parts = self.total or tuple(map(torch.zeros_like, rates))
            both = zip(parts, self._rates, rates, strict=True)
            self.total = tuple(part.add(before + now, alpha=half) for part, before, now in both)
        self._time, self._rates = time, rates


class Advance(NamedTuple):
    """The result of integrating a flow over a unit of time or a part of it.

    Attributes:
        w, state: weights and state at the end.
        frame: the frame at the end.
        quadrature: of the rates at the beginnings of all steps; None if the integrator estimates its error itself.
        error: the largest error of its steps, relative to their moves; NaN if it is not known.
        steps: number of steps whose error was controlled; -1 if it is not known.
    """

    w: Tensor
    state: State
    frame: Frame
    quadrature: Quadrature | None = None
    error: float = math.nan
    steps: int = 1


@dataclass(frozen=True)
class Integrator(ABC):
    """A method that integrates a flow over one unit of time.

    Attributes:
        method: its name in the configuration.
        evaluations: largest number of velocities that a unit of time may take.
    """

    method: str
    _: KW_ONLY
    evaluations: int = 10_000

    methods: ClassVar[tuple[str, ...]]

    @classmethod
    def from_config(cls, config: IntegrationConfig, **options: Any) -> Integrator:
        """Return the integrator with the attributes that a configuration holds, and the given further ones."""
        known = {field.name: getattr(config, field.name) for field in fields(cls) if hasattr(config, field.name)}
        return cls(**known | options)

    @property
    def bound(self) -> float:
        """Bound on the error of a step, above which it is redone by shorter steps."""
        return math.inf

    def bound_in(self, frame: Frame) -> float:
        """Return the bound on the error of a step that begins with a frame, at most `bound`."""
        return self.bound

    def length(self, frame: Frame) -> Fraction:
        """Return the part of a unit of time that `advance` covers."""
        return Fraction(1)

    def advance(
        self,
        flow: Flow,
        time: float,
        w: Tensor,
        state: State,
        frame: Frame,
        first: tuple[Tensor, State, Snapshot] | None = None,
    ) -> Advance:
        """Return the flow's weights and state after the time that `length` returns.

        Args:
            first: the velocity at the beginning, if it is known.

        Raises:
            Stopped: more than `evaluations` velocities are needed.
        """
        count, last = 0, time + float(self.length(frame)) - EARLY

        def velocity(t: Tensor | float, y: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            nonlocal count
            count += 1
            if count > self.evaluations:
                raise Stopped(f"step {time:.0f} takes more than {self.evaluations} evaluations of the velocity")
            t = t.clamp(max=last) if isinstance(t, Tensor) else min(t, last)
            known = first is not None and count == 1
            dw, ds, _ = first if known else flow.velocity(t, y[0], y[1:], frame)
            return dw, *ds

        with torch.no_grad():
            return self._advance(flow, velocity, time, (w, *state), frame)

    @abstractmethod
    def _advance(self, flow: Flow, velocity: Velocity, time: float, y: State, frame: Frame) -> Advance:
        """Return the result of `advance`. The first velocity is evaluated at the beginning."""


@dataclass(frozen=True)
class FixedStep(Integrator):
    """Equal steps of a torchdiffeq method. Euler with 4 substeps is the published discretisation.

    Attributes:
        substeps: smallest number of steps per unit of time.
        substeps_per_sharpness: steps per unit of effective sharpness, where this gives more. Euler and Heun are stable
            from 1/2 on; 0.6 allows for growth by a fifth within the unit.
        proportional: take `substeps` at the edge of stability, fewer below it and more above it, in proportion to the
            sharpness. The error depends on the product of the sharpness and the step length.
        step_tolerance: bound on the error of a unit of time, above which it is divided into parts (see
            `error_control`); infinity for none.
    """

    substeps: int = 4
    substeps_per_sharpness: float = 0.0
    _: KW_ONLY
    proportional: bool = False
    step_tolerance: float = math.inf

    methods: ClassVar[tuple[str, ...]] = ("euler", "midpoint", "heun2", "heun3", "rk4")

    velocities: ClassVar[dict[str, int]] = {"euler": 1, "midpoint": 2, "heun2": 2, "heun3": 3, "rk4": 4}
    """Number of velocities in a step of torchdiffeq's methods."""

    smooth: ClassVar[float] = 0.4
    """Share of the tolerance where no mode is critical: shorter parts then need no third derivatives."""

    @property
    def bound(self):
        return self.step_tolerance

    def bound_in(self, frame):
        return self.step_tolerance * (self.smooth if frame.expansion is None else 1.0)

    def length(self, frame):
        return Fraction(1, frame.pace)

    def count(self, frame: Frame) -> int:
        """Return the number of steps in the time that a frame is held."""
        sharpness = float(frame.values[0])
        if self.proportional:
            # At the edge, the sharpness is 2 up to rounding. The factor 0.9 keeps rounding from adding a step.
            whole = frame.refinement * max(1, math.ceil(0.9 * self.substeps * sharpness / 2))
        else:
            whole = max(self.substeps, math.ceil(self.substeps_per_sharpness * sharpness))
        return math.ceil(whole / frame.pace)

    def _advance(self, flow, velocity, time, y, frame):
        return self._torchdiffeq(self.method, velocity, time, y, frame)

    def _torchdiffeq(self, method: str, velocity: Velocity, time: float, y: State, frame: Frame) -> Advance:
        """Return the result of `advance` by a method of torchdiffeq."""
        quadrature, calls = Quadrature(), 0

        def observed(t: Tensor, y: State) -> State:
            nonlocal calls
            rates = velocity(t, y)
            if calls % self.velocities[method] == 0:
                quadrature.add(t, rates)
            calls += 1
            return rates

        length = float(self.length(frame))
        step = {"step_size": length / self.count(frame)}
        w, *state = _solved(observed, time, length, y, method=method, options=step)
        return Advance(w, tuple(state), frame, quadrature)


@dataclass(frozen=True)
class Jameson(FixedStep):
    r"""Equal steps of three stages, each from the beginning of the step, over 1/4, 1/2 and all of it.

    On $y' = \lambda y$ the factor is $1 + z + z^2/2 + z^3/8$. The method is of second order, errs by less than 0.14
    down to $z = -2$, has a zero factor there, and is stable to -3.08. If steps are proportional, a flow far below the
    edge of stability takes steps of Heun's method: it needs one velocity less and its error there is no larger.

    Source: A. Jameson, W. Schmidt, E. Turkel, AIAA paper 81-1259 (1981).
    """

    methods: ClassVar[tuple[str, ...]] = ("jameson3",)

    heun_below: ClassVar[float] = 1.2
    """Effective sharpness below which Heun's method errs no more than this method does at the edge of stability."""

    def _advance(self, flow, velocity, time, y, frame):
        if self.proportional and frame.values[0] < self.heun_below:
            return self._torchdiffeq("heun2", velocity, time, y, frame)
        step, quadrature = float(self.length(frame)) / self.count(frame), Quadrature()
        for i in range(self.count(frame)):
            begin, passed = y, 0.0
            for length in (0.25 * step, 0.5 * step, step):
                rates = velocity(time + i * step + passed, y)
                if passed == 0.0:
                    quadrature.add(time + i * step, rates)
                y = tuple(torch.add(part, rate, alpha=length) for part, rate in zip(begin, rates, strict=True))
                passed = length
        return Advance(y[0], y[1:], frame, quadrature)


@dataclass(frozen=True)
class AdaptiveStep(FixedStep):
    """Steps of a torchdiffeq method that chooses their length; the first has the length of `FixedStep`.

    Attributes:
        rtol, atol: error tolerances of each step, relative and absolute.
    """

    _: KW_ONLY
    rtol: float = 1e-5
    atol: float = 1e-7

    methods: ClassVar[tuple[str, ...]] = ("bosh3", "dopri5")

    def length(self, frame):
        return Fraction(1)

    def _advance(self, flow, velocity, time, y, frame):
        options = {"first_step": 1.0 / self.count(frame)}
        w, *state = _solved(velocity, time, 1.0, y, method=self.method, options=options, rtol=self.rtol, atol=self.atol)
        return Advance(w, tuple(state), frame, steps=-1)


@dataclass(frozen=True)
class Chebyshev(Integrator):
    """Stabilised Runge-Kutta-Chebyshev steps of adaptive length.

    A step is halved where its error is too large, and doubled where possible; the length carries over to the next unit
    of time. The sharpness determines the number of stages. Where the loss has a kink, the velocity jumps, and the error
    of a step across the jump, relative to its move, is the same for every length. An error that halving does not reduce
    is therefore held against the move of a whole unit.

    Attributes:
        substeps_per_sharpness: half the product of step and stiffness for which each step is stable, per unit of
            effective sharpness; at least 1/2.
        tolerance: on the error of a step, relative to the length of its move.
    """

    substeps_per_sharpness: float = 0.6
    tolerance: float = 3e-2

    methods: ClassVar[tuple[str, ...]] = ("rkc2",)

    shortest: ClassVar[Fraction] = Fraction(1, 4096)
    """Step length whose error is always accepted [optimizer steps]."""
    jump: ClassVar[float] = 1 / 8
    """Share of the tolerance that a step across a jump may err by, relative to the move of a whole unit."""

    def __post_init__(self):
        if self.substeps_per_sharpness < 0.5:
            raise ValueError(f"{self.method} needs substeps_per_sharpness of at least 1/2")

    @property
    def bound(self):
        return self.tolerance

    def _advance(self, flow, velocity, time, y, frame):
        stiffness = 2 * self.substeps_per_sharpness * max(0.0, float(frame.values[0]))
        step, done = Fraction(1, frame.pace), Fraction(0)  # exact: the last step ends with the unit
        norm = torch.linalg.vector_norm(y[0]).item()
        rates, largest, steps = velocity(time, y), 0.0, 0
        refused, refused_end = math.inf, Fraction(0)  # the error of the last refused step, and where it ended
        while done < 1:
            move = chebyshev_step(velocity, time + float(done), y, rates, float(step), stages_for(stiffness * step))
            ahead = moved(y, move)
            done += step
            if done == 1:
                flow.evaluator.at(ahead[0])  # the next unit of time starts with this gradient's graph
            rates_ahead = velocity(time + float(done), ahead)
            bits = rounding(y[0], norm, stiffness * float(step))
            error = step_error(move[0], rates[0], rates_ahead[0], float(step), bits)
            # A smooth error would be a fourth of that at twice the length.
            if done <= refused_end and error > refused / 2 and error * step <= self.jump * self.tolerance:
                error = float(error * step)
            if error > self.tolerance and step > self.shortest:
                refused, refused_end = error, done
                done, step = done - step, step / 2
                continue
            y, rates, largest, steps = ahead, rates_ahead, max(largest, error), steps + 1
            # The error grows with the square of the step.
            if 8 * error < self.tolerance and step < 1 and done % (2 * step) == 0:
                step = 2 * step
        frame = frame._replace(pace=int(1 / step))
        return Advance(y[0], y[1:], frame, error=largest, steps=steps)


def _solved(velocity: Velocity, time: float, length: float, y: State, *, method: str, **settings: Any) -> State:
    """Return the state a length of time later, integrated by torchdiffeq."""
    from torchdiffeq import odeint  # loads much of scipy, and the default methods do without

    times = torch.tensor([time, time + length], dtype=torch.float64, device=y[0].device)
    paths = odeint(velocity, y, times, method=method, **settings)
    # Copies have the memory alignment of states that a resumed process reads. Rounding may depend on it.
    return tuple(path[-1].clone() for path in paths)


INTEGRATORS = {name: kind for kind in (FixedStep, Jameson, AdaptiveStep, Chebyshev) for name in kind.methods}
"""The integrator class of each method."""


def make_integrator(method: str = "euler", *args: Any, **options: Any) -> Integrator:
    """Return the integrator of a method.

    Args:
        method: a key of `INTEGRATORS`.
        args, options: arguments of its class.

    Raises:
        ValueError: there is no such method.
    """
    if method not in INTEGRATORS:
        raise ValueError(f"unknown method {method!r}; choose one of {', '.join(INTEGRATORS)}")
    return INTEGRATORS[method](method, *args, **options)
