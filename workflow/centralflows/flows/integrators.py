"""Integrators of a flow over one unit of time (one optimizer step): methods of torchdiffeq and two others.

torchdiffeq keeps every requested state in memory, so each call covers one unit of time.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, fields
from fractions import Fraction
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchdiffeq import odeint

from ..common.errors import Stopped
from ..config.processes import IntegrationConfig
from ..optimizers.optimizer import State
from .flow import Flow, Frame, Snapshot
from .runge_kutta_chebyshev import chebyshev_step, moved, stages_for, step_error

Velocity = Callable[[Tensor | float, State], State]

END = 1 - 1e-6
"""Time of the last velocity in a unit: at the very end of the unit, the next learning rate already holds."""


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

    def advance(
        self, flow: Flow, time: float, w: Tensor, state: State, frame: Frame
    ) -> tuple[Tensor, State, Snapshot, Frame]:
        """Return (w, s) one unit of time later, the snapshot at the start of the unit, and the frame at its end.

        Raises:
            Stopped: the unit takes more than `evaluations` velocities.
        """
        snapshots: list[Snapshot] = []
        count, last = 0, time + END

        def velocity(t: Tensor | float, y: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            nonlocal count
            count += 1
            if count > self.evaluations:
                raise Stopped(f"step {time:.0f} takes more than {self.evaluations} evaluations of the velocity")
            t = t.clamp(max=last) if isinstance(t, Tensor) else min(t, last)
            dw, ds, snapshot = flow.velocity(t, y[0], y[1:], frame)
            if not snapshots:
                snapshots.append(snapshot)
            return dw, *ds

        with torch.no_grad():
            (w, *state), frame = self._unit(flow, velocity, time, (w, *state), frame)
        return w, tuple(state), snapshots[0], frame

    @abstractmethod
    def _unit(self, flow: Flow, velocity: Velocity, time: float, y: State, frame: Frame) -> tuple[State, Frame]:
        """Return the state one unit of time later, and the frame."""


@dataclass(frozen=True)
class FixedStep(Integrator):
    """Equal steps of a torchdiffeq method. Euler with 4 substeps is the published discretisation.

    Attributes:
        substeps: smallest number of steps per unit of time.
        substeps_per_sharpness: steps per unit of effective sharpness, where this gives more. Euler and Heun are stable
            from 1/2 on; 0.6 allows for growth by a fifth within the unit.
        proportional: take `substeps` at the edge of stability, fewer below it and more above it, in proportion to the
            sharpness. The error depends on the product of the sharpness and the step length.
    """

    substeps: int = 4
    substeps_per_sharpness: float = 0.0
    _: KW_ONLY
    proportional: bool = False

    methods: ClassVar[tuple[str, ...]] = ("euler", "midpoint", "heun2", "heun3", "rk4")

    def count(self, frame: Frame) -> int:
        """Return the number of steps in the unit of time of a frame."""
        sharpness = float(frame.values[0])
        if self.proportional:
            # At the edge, the sharpness is 2 up to rounding. The factor 0.9 keeps rounding from adding a step.
            return frame.refinement * max(1, math.ceil(0.9 * self.substeps * sharpness / 2))
        return max(self.substeps, math.ceil(self.substeps_per_sharpness * sharpness))

    def _unit(self, flow, velocity, time, y, frame):
        return _solved(velocity, time, y, method=self.method, options={"step_size": 1.0 / self.count(frame)}), frame


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

    def _unit(self, flow, velocity, time, y, frame):
        step = 1.0 / self.count(frame)
        if self.proportional and frame.values[0] < self.heun_below:
            return _solved(velocity, time, y, method="heun2", options={"step_size": step}), frame
        for i in range(self.count(frame)):
            begin, passed = y, 0.0
            for length in (0.25 * step, 0.5 * step, step):
                rates = velocity(time + i * step + passed, y)
                y = tuple(torch.add(part, rate, alpha=length) for part, rate in zip(begin, rates, strict=True))
                passed = length
        return y, frame


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

    def _unit(self, flow, velocity, time, y, frame):
        options = {"first_step": 1.0 / self.count(frame)}
        return _solved(velocity, time, y, method=self.method, options=options, rtol=self.rtol, atol=self.atol), frame


@dataclass(frozen=True)
class Chebyshev(Integrator):
    """Stabilised Runge-Kutta-Chebyshev steps of adaptive length.

    A step is halved where its error is too large, and doubled where possible; the length carries over to the next unit
    of time. The sharpness determines the number of stages.

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
    fast: ClassVar[int] = 20
    """Number of directions that may be as stiff as the stiffest."""

    def __post_init__(self):
        if self.substeps_per_sharpness < 0.5:
            raise ValueError(f"{self.method} needs substeps_per_sharpness of at least 1/2")

    def _unit(self, flow, velocity, time, y, frame):
        stiffness = 2 * self.substeps_per_sharpness * max(0.0, float(frame.values[0]))
        step, done = Fraction(1, frame.chebyshev_steps), Fraction(0)  # exact: the last step ends with the unit
        # The rate that rounding of the weights causes; at a minimum there is no other. Each weight is rounded
        # independently, so the few fast directions get their share of the total and no more.
        bits = 4 * torch.finfo(y[0].dtype).eps * torch.linalg.vector_norm(y[0]).item()
        fast = min(1.0, self.fast / len(y[0])) ** 0.5
        rates = velocity(time, y)
        while done < 1:
            move = chebyshev_step(velocity, time + float(done), y, rates, float(step), stages_for(stiffness * step))
            ahead = moved(y, move)
            done += step
            if done == 1:
                flow.evaluator.at(ahead[0])  # the next unit of time starts with this gradient's graph
            rates_ahead = velocity(time + float(done), ahead)
            rounding = bits * (1 + fast * stiffness * float(step))
            error = step_error(move[0], rates[0], rates_ahead[0], float(step), rounding)
            if error > self.tolerance and step > self.shortest:
                done, step = done - step, step / 2
                continue
            y, rates = ahead, rates_ahead
            # The error grows with the square of the step.
            if 8 * error < self.tolerance and step < 1 and done % (2 * step) == 0:
                step = 2 * step
        return y, frame._replace(chebyshev_steps=int(1 / step))


def _solved(velocity: Velocity, time: float, y: State, *, method: str, **settings: Any) -> State:
    """Return the state one unit of time later, integrated by torchdiffeq."""
    times = torch.tensor([time, time + 1.0], dtype=torch.float64, device=y[0].device)
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
