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
from .derivatives import Point
from .edge import Block, Edge, edge, gram, pairs, weighted_gram
from .optimizers import Optimizer
from .optimizers.base import State
from .points import Points
from .schema import MARGIN
from .spectrum import Spectrum
from .symmetric import smat, svec
from .tracker import Tracker

Time = float | int | Tensor  # in optimizer steps


class Frame(NamedTuple):
    """What stays fixed between two solves of the spectrum.

    Attributes:
        values: effective eigenvalues at the solve `[m]`, largest first.
        vectors: orthonormal eigenvectors `[p, m]` of the symmetrised effective Hessian.
        edge: the critical modes' expansion about the point of the solve; None where there are none, or where each
            velocity evaluates their derivatives itself.
        pace: how many times shorter steps and relaxation are than usual; "rkc2" makes it that of the last unit of time.
    """

    values: Float[Tensor, " m"]
    vectors: Float[Tensor, "p m"]
    edge: Edge | None = None
    pace: int = 1


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
    """What a velocity learned on its way: the gradient, diag(P) `[p]` or `[1]`, and the oscillation if there is one."""

    gradient: Float[Tensor, " p"]
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

    def frame(self, time: float, w: Tensor, state: State, spectrum: Spectrum, before: Frame | None = None) -> Frame:
        """What stays fixed from this solve of the spectrum to the next, given the frame of the unit of time before."""
        return Frame(spectrum.values, spectrum.vectors)

    @abstractmethod
    def velocity(self, time: Time, w: Tensor, state: State, frame: Frame) -> tuple[Tensor, State, Snapshot]:
        """(dw/dt, ds/dt, snapshot) at a time [optimizer steps]."""

    def _smooth_velocity(self, time: Time, w: Tensor, state: State) -> tuple[Tensor, State, Snapshot]:
        """The velocity where nothing oscillates."""
        gradient = self.points.gradient(w)
        preconditioner = self.preconditioner(time, w, state)
        drift = self.optimizer.drift(self.step(time), state, gradient)
        return (
            torch.addcdiv(gradient.new_zeros(1), gradient, preconditioner, value=-1.0),
            drift,
            Snapshot(gradient, preconditioner, None),
        )


@dataclass(frozen=True)
class StableFlow(Flow):
    r"""$dw/dt = -P^{-1} \nabla L(w)$, $ds/dt$ the optimizer's own drift: gradient flow, for gradient descent.

    Source: arXiv:2410.24206, the stable flow.
    """

    name: ClassVar[str] = "stable"

    def frame(self, time, w, state, spectrum, before=None):
        frame = super().frame(time, w, state, spectrum)
        return frame if before is None else frame._replace(pace=before.pace)  # steps go on as long as they were

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
        relaxation_time: $\tau$ [optimizer steps]; divided by the frame's `pace`.
        critical_threshold: modes with a larger effective eigenvalue enter the complementarity problem.
        third_derivatives: "followed" expands the critical block once per unit of time and extrapolates third derivatives
            while they turn out right (see `edge`); "fresh" evaluates Hessian products and third derivatives at every
            velocity, as the published discretisation does.
        held_slack: what is kept of $A$ while the eigenvectors are held between two solves, where third derivatives are
            fresh. "rayleigh" keeps its diagonal (the Rayleigh quotients), which is the published discretisation; "full"
            keeps all of it, which makes the velocity independent of the choice of basis.
        tolerance: on the relative error of followed third derivatives.

    Source: arXiv:2410.24206, the central flow; its complementarity problem divided by the step.
    """

    relaxation_time: float = 0.25
    critical_threshold: float = 1.95
    third_derivatives: Literal["followed", "fresh"] = "fresh"
    held_slack: Literal["rayleigh", "full"] = "rayleigh"
    tolerance: float = 3e-2

    name: ClassVar[str] = "central"
    averages: ClassVar[bool] = True
    penalty: ClassVar[float] = 0.5  # how much of the gradient of <H, Sigma> acts on the weights

    # Beyond this the flow relaxes to the edge: how fast is a matter of the relaxation time alone, so that it is divided.
    beyond: ClassVar[float] = 2.02
    relaxing_pace: ClassVar[int] = 3

    def frame(self, time, w, state, spectrum, before=None):
        frame = super().frame(time, w, state, spectrum)
        if self.third_derivatives == "fresh":
            return frame
        if spectrum.values[0] > self.beyond:
            frame = frame._replace(pace=self.relaxing_pace)
        values, past = spectrum.values.tolist(), frame.values.tolist() if before is None else before.values.tolist()
        # A mode that goes on rising as it did enters before it is past the threshold: later, it would enter with a jump.
        rises = [max(0.0, now - then) for now, then in zip(values, past, strict=False)]
        rises += [0.0] * (len(values) - len(rises))
        critical = [i for i, rise in enumerate(rises) if values[i] > 0 and values[i] + rise > self.critical_threshold]
        if not critical:
            return frame
        point, preconditioner = self.points.at(w), self.preconditioner(time, w, state)
        past_edge = None if before is None else before.edge
        return frame._replace(
            edge=edge(time, point, preconditioner, spectrum, critical, past_edge, tolerance=self.tolerance)
        )

    def velocity(self, time, w, state, frame):
        held = frame.edge
        if self.third_derivatives == "followed" and (held is None or held.third.steady or float(time) == held.time):
            smooth = self._smooth_velocity(time, w, state)
            block = None if held is None else Block.expanded(held, float(time), w, smooth[2].preconditioner)
        else:
            point = self.points.at(w)  # first, so that its gradient is not evaluated twice
            smooth = self._smooth_velocity(time, w, state)
            block = self._fresh(point, smooth[2].preconditioner, frame)
        return smooth if block is None else self._constrained(time, w, state, smooth, block, frame.pace)

    def _constrained(
        self, time: Time, w: Tensor, state: State, smooth: tuple[Tensor, State, Snapshot], block: Block, pace: int
    ) -> tuple[Tensor, State, Snapshot]:
        """A smooth velocity, with what keeps the critical modes at the edge added to it."""
        (dw, drift, snapshot), step = smooth, self.step(time)
        # What one unit of each coordinate of X adds to the drift.
        drift_x = self.optimizer.drift_curvature(step, state, snapshot.gradient, block.products)

        # The change of svec(U' (2P - H) U) along the smooth velocity, and what a unit of each coordinate adds to it.
        growth = self.optimizer.preconditioner_rate(step, state, 1.0, drift).to(w)[:, None]
        rate = block.growth(growth)[:, 0] - (block.gradients.T @ dw).double().cpu().numpy()
        rate_x = 0.0
        if self.penalty:
            rate_x = self.penalty * weighted_gram(block.gradients, snapshot.preconditioner)
        if state:
            rate_x = rate_x + block.growth(self.optimizer.preconditioner_rates(step, state, drift_x).to(w))

        tau = self.relaxation_time / pace
        solution = solve_sdcp(block.slack + tau * smat(rate), tau * rate_x)
        x = torch.as_tensor(svec(solution.x), dtype=w.dtype, device=w.device)
        if self.penalty:
            dw = torch.addcdiv(dw, block.gradients @ x, snapshot.preconditioner, value=-self.penalty)
        drift = tuple(d + d_x @ x for d, d_x in zip(drift, drift_x, strict=True))
        oscillation = Oscillation(block.basis, block.products, block.curvatures, solution)
        return dw, drift, snapshot._replace(oscillation=oscillation)

    def _fresh(self, point: Point, preconditioner: Tensor, frame: Frame) -> Block | None:
        """The critical block evaluated at a point, None where no mode is critical."""
        near = (frame.values > self.critical_threshold - MARGIN).nonzero()[:, 0]
        basis = (frame.vectors.T[near] * preconditioner.rsqrt()).T
        graphs = point.product_graphs(basis)
        critical = [i for i, graph in enumerate(graphs) if basis[:, i] @ graph > self.critical_threshold]
        if not critical:
            return None
        basis, graphs = basis.T[critical].T, tuple(graphs[i] for i in critical)
        products = torch.stack([graph.detach() for graph in graphs]).T
        curvatures = gram(basis, products)
        curvatures = (curvatures + curvatures.T) / 2
        slack = 2 * np.eye(len(curvatures)) - curvatures
        if self.held_slack == "rayleigh":
            slack = np.diag(np.diag(slack))
        gradients = point.curvature_gradients(basis, graphs)
        return Block(basis, products, curvatures, slack, gradients, pairs(basis, preconditioner))


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

    penalty: ClassVar[float] = 0.0

    def velocity(self, time, w, state, frame):
        return super().velocity(time, w, state, frame) if state else self._smooth_velocity(time, w, state)
