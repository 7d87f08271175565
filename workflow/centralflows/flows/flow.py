"""The interface of all flows: the velocity as a pure function of (time, state, frame).

A flow's state is $y = (w, s)$: weights and optimizer state. Its frame holds the quantities that stay fixed between two
solves of the spectrum, among them orthonormal eigenvectors $V$ of $P^{-1/2} H P^{-1/2}$. Each velocity also returns a
`Snapshot` of the quantities it computed, so that they are recorded without another evaluation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..config.processes import IntegrationConfig, SpectrumConfig
from ..derivatives.eigen_solver import Spectrum
from ..derivatives.eigen_tracker import EigenTracker
from ..derivatives.evaluator import DerivativeEvaluator
from ..optimizers.optimizer import Optimizer, State
from .critical_block import CriticalExpansion
from .oscillation import Oscillation

Time = float | int | Tensor  # in optimizer steps


class Frame(NamedTuple):
    """The quantities that stay fixed between two solves of the spectrum.

    Attributes:
        values: effective eigenvalues at the solve `[m]`, largest first.
        vectors: orthonormal eigenvectors `[p, m]` of the symmetrised effective Hessian.
        expansion: critical expansion about the point of the solve; None if there are no critical modes, or if each
            velocity evaluates their derivatives itself.
        refinement: factor by which the central flow's steps and relaxation time are shortened.
        pace: parts per unit of time, at the present length of the parts whose error is controlled (see
            `error_control`); for the stable flow, steps of the integrator.
    """

    values: Float[Tensor, " m"]
    vectors: Float[Tensor, "p m"]
    expansion: CriticalExpansion | None = None
    refinement: int = 1
    pace: int = 1


class Snapshot(NamedTuple):
    """Quantities computed along with a velocity: the gradient, diag(P) `[p]` or `[1]`, and the oscillation or None."""

    gradient: Float[Tensor, " p"]
    preconditioner: Float[Tensor, " *p"]
    oscillation: Oscillation | None


@dataclass(frozen=True)
class Flow(ABC):
    """A flow of an optimizer on an objective.

    Attributes:
        evaluator: derivatives of the objective.
        optimizer: the optimizer whose average trajectory the flow describes.
        first_step: the optimizer's step counter at time 0; the counter advances by 1 per unit of time.
    """

    evaluator: DerivativeEvaluator
    optimizer: Optimizer
    first_step: int = 1

    name: ClassVar[str]
    averages: ClassVar[bool] = False  # whether the flow predicts time averages of the discrete run
    follows_modes: ClassVar[bool] = True  # whether the flow depends on modes above the tracking threshold

    @classmethod
    @abstractmethod
    def configured(
        cls,
        config: IntegrationConfig,
        spectrum: SpectrumConfig,
        evaluator: DerivativeEvaluator,
        optimizer: Optimizer,
        first_step: int,
    ) -> tuple[Flow, Any]:
        """Return the flow and the integrator that a configuration describes.

        Args:
            config: settings of the process.
            spectrum: settings of the eigenvalues tracked along it.
            evaluator, optimizer, first_step: as for the flow.

        Raises:
            ValueError: the flow needs modes that are not tracked.
        """

    def step(self, time: Time) -> Tensor:
        """Return the optimizer's step counter at a time, as float64."""
        return torch.as_tensor(time, dtype=torch.float64) + self.first_step

    def preconditioner(self, time: Time, w: Tensor, state: State) -> Tensor:
        return self.optimizer.preconditioner(self.step(time), state).to(w)

    def settle(self, time: Time, w: Tensor, state: State, tracker: EigenTracker) -> tuple[State, Spectrum]:
        """Return the state from which a unit of time starts, and the spectrum there."""
        return state, tracker.update(self.evaluator.at(w), self.preconditioner(time, w, state))

    def frame(self, time: float, w: Tensor, state: State, spectrum: Spectrum, before: Frame | None = None) -> Frame:
        """Return the quantities held from this solve of the spectrum to the next, given the frame before it."""
        return Frame(spectrum.values, spectrum.vectors, pace=1 if before is None else before.pace)

    @abstractmethod
    def velocity(self, time: Time, w: Tensor, state: State, frame: Frame) -> tuple[Tensor, State, Snapshot]:
        """Return (dw/dt, ds/dt, snapshot) at a time [optimizer steps]."""

    def _smooth_velocity(self, time: Time, w: Tensor, state: State) -> tuple[Tensor, State, Snapshot]:
        """Return the velocity without oscillations."""
        gradient = self.evaluator.gradient(w)
        preconditioner = self.preconditioner(time, w, state)
        drift = self.optimizer.drift(self.step(time), state, gradient)
        return (
            torch.addcdiv(gradient.new_zeros(1), gradient, preconditioner, value=-1.0),
            drift,
            Snapshot(gradient, preconditioner, None),
        )
