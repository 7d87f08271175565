r"""The flows: velocities as pure functions of (time, state, frame).

A flow's state is $y = (w, s)$: weights and optimizer state. Its frame holds what stays fixed between two solves of the
spectrum: orthonormal eigenvectors $V$ of $P^{-1/2} H P^{-1/2}$. Each velocity also returns a `Snapshot` of what it
learned on its way, so that recording costs nothing extra.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from .complementarity import Solution, solve_sdcp
from .derivatives import Point, Points
from .optimizers import Optimizer
from .optimizers.base import State
from .spectrum import Spectrum, Tracker
from .symmetric import smat, svec

Time = float | int | Tensor  # in optimizer steps


class Frame(NamedTuple):
    """What stays fixed between two solves of the spectrum.

    Attributes:
        values: effective eigenvalues at the solve `[m]`, largest first.
        vectors: orthonormal eigenvectors `[p, m]` of the symmetrised effective Hessian.
    """

    values: Float[Tensor, " m"]
    vectors: Float[Tensor, "p m"]


class Oscillation(NamedTuple):
    r"""The covariance $\Sigma = U X U'$ of the oscillations that a central flow averages over.

    Attributes:
        basis: $U$ `[p, k]`, the critical eigenvectors with $U' P U = I$.
        products: $H U$ `[p, k]`.
        curvatures: $U' H U$ `[k, k]`, symmetric, effective eigenvalues on its diagonal.
        solution: $X$ with its certificate.
    """

    basis: Float[Tensor, "p k"]
    products: Float[Tensor, "p k"]
    curvatures: Float[ndarray, "k k"]
    solution: Solution

    @property
    def loss(self) -> float:
        r"""What the oscillations add to the loss: $\tfrac12 \langle H, \Sigma \rangle = \mathrm{tr} X$ at the edge, where
        $U' H U = 2$."""
        return float(np.trace(self.solution.x))

    @property
    def gradient_norm_squared(self) -> float:
        r"""$\mathrm{tr}(H \Sigma H)$, what they add to $|\nabla L|^2$."""
        return float(np.sum(gram(self.products, self.products) * self.solution.x))

    @property
    def rank(self) -> int:
        """Rank of Sigma, without the variances that are rounding beside the largest."""
        variances = np.linalg.eigvalsh(self.solution.x)
        return int((variances > 1e-6 * max(variances[-1], 1e-300)).sum())

    def principal(self) -> tuple[Float[ndarray, " k"], Float[Tensor, "p k"]]:
        """Variances in P-normalised units, largest first, and their directions: columns d with d' P d = 1."""
        variances, rotation = np.linalg.eigh(self.solution.x)
        rotation = torch.as_tensor(rotation[:, ::-1].copy(), dtype=self.basis.dtype, device=self.basis.device)
        return np.maximum(variances[::-1], 0.0), self.basis @ rotation


class Snapshot(NamedTuple):
    """What a velocity learned on its way: the point, diag(P) `[p]` or `[1]`, and the oscillation if there is one."""

    point: Point
    preconditioner: Float[Tensor, " *p"]
    oscillation: Oscillation | None


@dataclass(frozen=True)
class Flow(ABC):
    """A flow of an optimizer on an objective.

    Attributes:
        points: derivatives of the objective.
        optimizer: whose average trajectory the flow describes.
        first_step: the optimizer's step counter at time 0; the counter advances by 1 per unit of time.
    """

    points: Points
    optimizer: Optimizer
    first_step: int = 1

    name: ClassVar[str]
    averages: ClassVar[bool] = False  # whether it predicts the time averages of the discrete run

    def step(self, time: Time) -> Tensor:
        """The optimizer's step counter at a time, as float64."""
        return torch.as_tensor(time, dtype=torch.float64) + self.first_step

    def preconditioner(self, time: Time, w: Tensor, state: State) -> Tensor:
        return self.optimizer.preconditioner(self.step(time), state).to(w)

    def settle(self, time: Time, w: Tensor, state: State, tracker: Tracker) -> tuple[State, Spectrum]:
        """The state that a unit of time starts from, and the spectrum there."""
        return state, tracker.update(self.points.at(w), self.preconditioner(time, w, state))

    @abstractmethod
    def velocity(self, time: Time, w: Tensor, state: State, frame: Frame) -> tuple[Tensor, State, Snapshot]:
        """(dw/dt, ds/dt, snapshot) at a time [optimizer steps]."""

    def _smooth_velocity(self, time: Time, w: Tensor, state: State) -> tuple[Tensor, State, Snapshot]:
        """The velocity where nothing oscillates."""
        point = self.points.at(w)
        preconditioner = self.preconditioner(time, w, state)
        drift = self.optimizer.drift(self.step(time), state, point.gradient)
        return -point.gradient / preconditioner, drift, Snapshot(point, preconditioner, None)


@dataclass(frozen=True)
class StableFlow(Flow):
    r"""$dw/dt = -P^{-1} \nabla L(w)$, $ds/dt$ the optimizer's own drift: gradient flow, for gradient descent.

    Source: arXiv:2410.24206, the stable flow.
    """

    name: ClassVar[str] = "stable"

    def velocity(self, time, w, state, frame):
        return self._smooth_velocity(time, w, state)


@dataclass(frozen=True)
class CentralFlow(Flow):
    r"""$dw/dt = -P^{-1} [\nabla L + \tfrac12 \nabla_w \langle H, \Sigma \rangle]$, with the drift averaged over $\Sigma$.

    $\Sigma = U X U'$ lives in the span of the critical eigenvectors $U$. The slack $A = U'(2P - H)U$ changes at the rate
    $\dot A = \dot A_0 + \dot A_1[X]$, and $X$ solves $0 \preceq X \perp A/\tau + \dot A \succeq 0$: the slack may not be
    used up within the relaxation time $\tau$. Euler steps of length $\tau$ keep $2P - H \succeq 0$ in this span at every
    step, to first order.

    Attributes:
        relaxation_time: $\tau$ [optimizer steps].
        critical_threshold: modes with a larger effective eigenvalue enter the complementarity problem.
        held_slack: what is kept of $A$ while the eigenvectors are held between two solves. "rayleigh" keeps its diagonal
            (the Rayleigh quotients), which is the published discretisation; "full" keeps all of it, which makes the
            velocity independent of the choice of basis.

    Source: arXiv:2410.24206, the central flow; its complementarity problem divided by the step.
    """

    relaxation_time: float = 0.25
    critical_threshold: float = 1.95
    held_slack: Literal["rayleigh", "full"] = "rayleigh"

    name: ClassVar[str] = "central"
    averages: ClassVar[bool] = True

    # A mode this far below the critical threshold at the last solve is not looked at before the next one.
    margin: ClassVar[float] = 0.15

    def velocity(self, time, w, state, frame):
        dw, drift, smooth = self._smooth_velocity(time, w, state)
        point, preconditioner, _ = smooth
        basis, graphs = self._critical(point, preconditioner, frame)
        if not graphs:
            return dw, drift, smooth

        step = self.step(time)
        curvature_gradients = point.curvature_gradients(basis, graphs)
        products = torch.stack([graph.detach() for graph in graphs]).T
        # What one unit of each coordinate of X adds to the velocity.
        dw_x = self._penalty(curvature_gradients, preconditioner)
        drift_x = self.optimizer.drift_curvature(step, state, point.gradient, products)

        def slack_rate(dw: Tensor, step_rate: float, drift: State) -> ndarray:
            """d svec(U' (2P - H) U)/dt along a velocity, with U held fixed."""
            rate = self.optimizer.preconditioner_rate(step, state, step_rate, drift).to(w)
            return svec(2 * gram(basis, rate[:, None] * basis)) - gram(curvature_gradients, dw)

        curvatures = gram(basis, products)
        curvatures = (curvatures + curvatures.T) / 2
        slack = 2 * np.eye(len(curvatures)) - curvatures
        if self.held_slack == "rayleigh":
            slack = np.diag(np.diag(slack))
        rate = slack_rate(dw, 1.0, drift)
        coordinates = range(dw_x.shape[1])
        rate_x = [slack_rate(dw_x[:, a], 0.0, tuple(d[..., a] for d in drift_x)) for a in coordinates]

        tau = self.relaxation_time
        solution = solve_sdcp(slack + tau * smat(rate), tau * np.stack(rate_x, axis=1))
        x = torch.as_tensor(svec(solution.x), dtype=w.dtype, device=w.device)
        dw = dw + dw_x @ x
        drift = tuple(d + d_x @ x for d, d_x in zip(drift, drift_x, strict=True))
        return dw, drift, Snapshot(point, preconditioner, Oscillation(basis, products, curvatures, solution))

    def _penalty(self, curvature_gradients: Float[Tensor, "p q"], preconditioner: Tensor) -> Float[Tensor, "p q"]:
        r"""$-\tfrac12 P^{-1} \nabla_w \langle H, \Sigma \rangle$ per coordinate of $X$."""
        return -0.5 * curvature_gradients / preconditioner[:, None]

    def _critical(
        self, point: Point, preconditioner: Tensor, frame: Frame
    ) -> tuple[Float[Tensor, "p k"], tuple[Float[Tensor, " p"], ...]]:
        """The critical directions U with U' P U = I, and the columns of H U with their graphs."""
        near = frame.values > self.critical_threshold - self.margin
        basis = frame.vectors[:, near] * preconditioner[:, None].rsqrt()
        products = point.product_graphs(basis)
        critical = [i for i, product in enumerate(products) if basis[:, i] @ product > self.critical_threshold]
        return basis[:, critical], tuple(products[i] for i in critical)


@dataclass(frozen=True)
class AblatedFlow(CentralFlow):
    r"""The central flow without the curvature penalty: $dw/dt = -P^{-1} \nabla L$, with the drift averaged over $\Sigma$.

    Oscillations still act on the optimizer's state, and through it on the step sizes, so $\Sigma$ is what keeps
    $2P - H \succeq 0$ by the growth of $P$ alone. With the penalty gone from the complementarity problem,
    $\dot A_1[X] = 2 U' \dot P[X] U$. For Scalar RMSProp with one critical mode $P$ is a number that follows the sharpness,
    $P = S/2$, so that $dw/dt = -(2/S) \nabla L$. An optimizer without a state (gradient descent) adapts nothing: its
    ablated flow is its stable flow.

    Source: arXiv:2410.24206, the ablation that shows how the curvature penalty acts; derived here for every optimizer.
    """

    name: ClassVar[str] = "ablated"

    def velocity(self, time, w, state, frame):
        return super().velocity(time, w, state, frame) if state else self._smooth_velocity(time, w, state)

    def _penalty(self, curvature_gradients, preconditioner):
        return torch.zeros_like(curvature_gradients)


def gram(a: Tensor, b: Tensor) -> ndarray:
    """a' b, summed in float64: rounding in float32 would make the complementarity problem lose its monotonicity."""
    return (a.double().T @ b.double()).cpu().numpy()
