r"""What all flows share: the velocity as a pure function of (time, state, frame).

A flow's state is $y = (w, s)$: weights and optimizer state. Its frame holds what stays fixed between two solves of the
spectrum: orthonormal eigenvectors $V$ of $P^{-1/2} H P^{-1/2}$. Each velocity also returns a `Snapshot` of what it
learned on its way, so that recording costs nothing extra.
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
    """What stays fixed between two solves of the spectrum.

    Attributes:
        values: effective eigenvalues at the solve `[m]`, largest first.
        vectors: orthonormal eigenvectors `[p, m]` of the symmetrised effective Hessian.
        expansion: of the critical modes about the point of the solve; None where there are none, or where each
            velocity evaluates their derivatives itself.
        refinement: how many times shorter the central flow's steps and relaxation time are than usual.
        chebyshev_steps: steps that the stable flow took in the last unit of time, where it chooses them itself.
    """

    values: Float[Tensor, " m"]
    vectors: Float[Tensor, "p m"]
    expansion: CriticalExpansion | None = None
    refinement: int = 1
    chebyshev_steps: int = 1


class Snapshot(NamedTuple):
    """What a velocity learned on its way: the gradient, diag(P) `[p]` or `[1]`, and the oscillation if there is one."""

    gradient: Float[Tensor, " p"]
    preconditioner: Float[Tensor, " *p"]
    oscillation: Oscillation | None


@dataclass(frozen=True)
class Flow(ABC):
    """A flow of an optimizer on an objective.

    Attributes:
        evaluator: derivatives of the objective.
        optimizer: whose average trajectory the flow describes.
        first_step: the optimizer's step counter at time 0; the counter advances by 1 per unit of time.
    """

    evaluator: DerivativeEvaluator
    optimizer: Optimizer
    first_step: int = 1

    name: ClassVar[str]
    averages: ClassVar[bool] = False  # whether it predicts the time averages of the discrete run
    follows_modes: ClassVar[bool] = True  # whether modes above the tracking threshold act on it

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
            config: of the process.
            spectrum: which eigenvalues are tracked along it.
            evaluator, optimizer, first_step: as for the flow.

        Raises:
            ValueError: the flow needs modes that are not tracked.
        """

    def step(self, time: Time) -> Tensor:
        """The optimizer's step counter at a time, as float64."""
        return torch.as_tensor(time, dtype=torch.float64) + self.first_step

    def preconditioner(self, time: Time, w: Tensor, state: State) -> Tensor:
        return self.optimizer.preconditioner(self.step(time), state).to(w)

    def settle(self, time: Time, w: Tensor, state: State, tracker: EigenTracker) -> tuple[State, Spectrum]:
        """The state that a unit of time starts from, and the spectrum there."""
        return state, tracker.update(self.evaluator.at(w), self.preconditioner(time, w, state))

    def frame(self, time: float, w: Tensor, state: State, spectrum: Spectrum, before: Frame | None = None) -> Frame:
        """What stays fixed from this solve of the spectrum to the next, given the frame of the unit of time before."""
        return Frame(spectrum.values, spectrum.vectors)

    @abstractmethod
    def velocity(self, time: Time, w: Tensor, state: State, frame: Frame) -> tuple[Tensor, State, Snapshot]:
        """(dw/dt, ds/dt, snapshot) at a time [optimizer steps]."""

    def _smooth_velocity(self, time: Time, w: Tensor, state: State) -> tuple[Tensor, State, Snapshot]:
        """The velocity where nothing oscillates."""
        gradient = self.evaluator.gradient(w)
        preconditioner = self.preconditioner(time, w, state)
        drift = self.optimizer.drift(self.step(time), state, gradient)
        return (
            torch.addcdiv(gradient.new_zeros(1), gradient, preconditioner, value=-1.0),
            drift,
            Snapshot(gradient, preconditioner, None),
        )
