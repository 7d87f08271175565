"""The flow of the weights alone, with the optimizer's state at its stationary value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..config.processes import SETTLED
from ..derivatives.point import Point
from ..derivatives.svec import svec
from .flow import Flow, Snapshot
from .integrators import INTEGRATORS
from .oscillation import Oscillation
from .stationary_state import relaxed, settle


@dataclass(frozen=True)
class StationaryFlow(Flow):
    r"""The flow of the weights alone,
    $dw/dt = -\bar P(w)^{-1} [\nabla L + \tfrac12 \nabla_w \langle H, \bar\Sigma(w) \rangle]$.

    The state has its stationary value at all times, as if it adapted at once. $\bar\Sigma$ is the covariance that holds
    it there. Effective eigenvalues are at most 2 by construction. Within a unit of time the eigenvectors are held, as
    in the central flow.

    Attributes:
        tolerance: on the residual of the stationary state.

    Source: arXiv:2410.24206, the stationary flow.
    """

    tolerance: float = 1e-4

    name: ClassVar[str] = "stationary"
    averages: ClassVar[bool] = True

    @classmethod
    def configured(cls, config, spectrum, evaluator, optimizer, first_step):
        flow = cls(evaluator, optimizer, first_step, tolerance=config.tolerance)
        return flow, INTEGRATORS[config.method].from_config(config)

    def settle(self, time, w, state, tracker):
        point = self.evaluator.at(w)
        found = settle(point, self.optimizer, self.step(time), state, tracker, tolerance=self.tolerance)
        return found.state, found.spectrum

    def preconditioner(self, time, w, state):
        return self.optimizer.asymptotic().preconditioner(self.step(time), state).to(w)

    def velocity(self, time, w, state, frame):
        point, step, optimizer = self.evaluator.at(w), self.step(time), self.optimizer.asymptotic()
        vectors = frame.vectors[:, frame.values > SETTLED]
        held = tuple(torch.zeros_like(part) for part in state)  # the flow loop settles the state again
        state, oscillation, _ = relaxed(
            point,
            optimizer,
            step,
            state,
            point.gradient,
            lambda preconditioner: vectors,
            tolerance=self.tolerance,
            iterations=300,
        )
        preconditioner = optimizer.preconditioner(step, state).to(w)
        push = point.gradient if oscillation is None else point.gradient + self._penalty(point, oscillation)
        return -push / preconditioner, held, Snapshot(point.gradient, preconditioner, oscillation)

    def _penalty(self, point: Point, oscillation: Oscillation) -> Float[Tensor, " p"]:
        r"""Return $\tfrac12 \nabla_w \langle H, \bar\Sigma \rangle$ with $\bar\Sigma$ held."""
        variances, directions = oscillation.principal()
        active = variances > 1e-9 * variances[0]
        root = directions[:, active] * torch.as_tensor(variances[active]).sqrt().to(directions)
        gradients = point.curvature_gradients(root)
        return 0.5 * gradients @ torch.as_tensor(svec(np.eye(active.sum()))).to(gradients)


@dataclass(frozen=True)
class StationaryAblatedFlow(StationaryFlow):
    r"""The stationary flow without the curvature penalty: $dw/dt = -\bar P(w)^{-1} \nabla L$.

    Source: arXiv:2410.24206, the ablation of the stationary flow.
    """

    name: ClassVar[str] = "stationary-ablated"

    def _penalty(self, point, oscillation):
        return torch.zeros_like(point.gradient)
