"""The central flow and its ablation without the curvature penalty."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ..config.processes import MARGIN
from ..derivatives.point import Point
from ..derivatives.svec import smat, svec
from ..optimizers.optimizer import State
from .complementarity import solve_sdcp
from .critical_block import CriticalBlock, expand, pairs
from .flow import Flow, Frame, Snapshot, Time
from .gram import gram, weighted_gram
from .integrators import INTEGRATORS
from .oscillation import Oscillation


def relaxation_time(method: str, substeps: int) -> float:
    """Return the relaxation time [optimizer steps] that suits a discretisation.

    It is one integration step, or half a step for methods that are stable for it.
    """
    return (0.5 if method in ("heun3", "jameson3", "rk4") else 1.0) / substeps


@dataclass(frozen=True)
class CentralFlow(Flow):
    r"""The central flow $dw/dt = -P^{-1} [\nabla L + \tfrac12 \nabla_w \langle H, \Sigma \rangle]$, with the drift
    averaged over $\Sigma$.

    $\Sigma = U X U'$ lies in the subspace of the critical eigenvectors $U$. The slack $A = U'(2P - H)U$ changes at the
    rate $\dot A = \dot A_0 + \dot A_1[X]$. $X$ solves $0 \preceq X \perp A/\tau + \dot A \succeq 0$: at its current
    rate, the slack must last for the relaxation time $\tau$. Euler steps of length $\tau$ keep $2P - H \succeq 0$ in
    this subspace at every step, to first order.

    Attributes:
        relaxation_time: $\tau$ [optimizer steps]; divided by the frame's `refinement` and `pace`.
        critical_threshold: modes with a larger effective eigenvalue enter the complementarity problem.
        third_derivatives: "followed" computes a critical expansion once per unit of time and extrapolates third
            derivatives while they stay accurate (see `critical_block`). "fresh" evaluates Hessian products and third
            derivatives at every velocity, as the published discretisation does.
        held_slack: the part of $A$ that is used while the eigenvectors are held between two solves, where third
            derivatives are fresh. "rayleigh" keeps its diagonal (the Rayleigh quotients), as the published
            discretisation does. "full" keeps the whole matrix, which makes the velocity independent of the choice of
            basis.
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
    penalty: ClassVar[float] = 0.5  # factor of the gradient of <H, Sigma> in the velocity of the weights

    # Above this effective sharpness the flow relaxes to the edge of stability, at a rate set by the relaxation time
    # alone. That time is divided by `relaxing_refinement`.
    beyond: ClassVar[float] = 2.02
    relaxing_refinement: ClassVar[int] = 3
    far: ClassVar[float] = 2.2  # above this effective sharpness it is not shortened further

    @classmethod
    def configured(cls, config, spectrum, evaluator, optimizer, first_step):
        if config.critical_threshold < spectrum.threshold + MARGIN:
            raise ValueError(f"critical_threshold must be {MARGIN:g} above the threshold of tracked modes")
        flow = cls(
            evaluator,
            optimizer,
            first_step,
            relaxation_time=relaxation_time(config.method, config.substeps),
            critical_threshold=config.critical_threshold,
            third_derivatives=config.third_derivatives,
            held_slack=config.held_slack,
            tolerance=config.tolerance,
        )
        followed = config.third_derivatives == "followed"
        tolerance = config.step_tolerance if followed else math.inf
        return flow, INTEGRATORS[config.method].from_config(config, proportional=followed, step_tolerance=tolerance)

    def frame(self, time, w, state, spectrum, before=None):
        frame = super().frame(time, w, state, spectrum, before)
        if self.third_derivatives == "fresh":
            return frame
        if spectrum.values[0] > self.beyond:
            frame = frame._replace(refinement=self.relaxing_refinement)
        values, past = spectrum.values.tolist(), frame.values.tolist() if before is None else before.values.tolist()
        # A mode that is rising enters before it passes the threshold, because entering later would make the velocity
        # jump.
        rises = [max(0.0, now - then) for now, then in zip(values, past, strict=False)]
        rises += [0.0] * (len(values) - len(rises))
        critical = [i for i, rise in enumerate(rises) if values[i] > 0 and values[i] + rise > self.critical_threshold]
        if not critical:
            return frame
        point, preconditioner = self.evaluator.at(w), self.preconditioner(time, w, state)
        earlier = None if before is None else before.expansion
        return frame._replace(
            expansion=expand(time, point, preconditioner, spectrum, critical, earlier, tolerance=self.tolerance)
        )

    def velocity(self, time, w, state, frame):
        held = frame.expansion
        if self.third_derivatives == "followed" and (held is None or held.third.steady or float(time) == held.time):
            smooth = self._smooth_velocity(time, w, state)
            block = None if held is None else CriticalBlock.expanded(held, float(time), w, smooth[2].preconditioner)
        else:
            point = self.evaluator.at(w)  # first: the smooth velocity then reuses its gradient
            smooth = self._smooth_velocity(time, w, state)
            block = self._fresh(point, smooth[2].preconditioner, frame)
        return smooth if block is None else self._constrained(time, w, state, smooth, block, self._shortening(frame))

    def _shortening(self, frame: Frame) -> int:
        """Return the factor by which the relaxation time is shortened.

        In shorter parts a mode arrives later and more sharply. Beyond the edge, the way back would be a single leap if
        the time were shortened further.
        """
        return max(frame.refinement, frame.pace) if frame.values[0] < self.far else frame.refinement

    def _constrained(
        self,
        time: Time,
        w: Tensor,
        state: State,
        smooth: tuple[Tensor, State, Snapshot],
        block: CriticalBlock,
        shortening: int,
    ) -> tuple[Tensor, State, Snapshot]:
        """Return a smooth velocity plus the terms that keep the critical modes at the edge of stability."""
        (dw, drift, snapshot), step = smooth, self.step(time)
        # The change of the drift per unit of each coordinate of X.
        drift_x = self.optimizer.drift_curvature(step, state, snapshot.gradient, block.products)

        # The rate of svec(U' (2P - H) U) along the smooth velocity, and its change per unit of each coordinate of X.
        growth = self.optimizer.preconditioner_rate(step, state, 1.0, drift).to(w)[:, None]
        rate = block.growth(growth)[:, 0] - (block.gradients.T @ dw).double().cpu().numpy()
        rate_x = 0.0
        if self.penalty:
            rate_x = self.penalty * weighted_gram(block.gradients, snapshot.preconditioner)
        if state:
            rate_x = rate_x + block.growth(self.optimizer.preconditioner_rates(step, state, drift_x).to(w))

        tau = self.relaxation_time / shortening
        solution = solve_sdcp(block.slack + tau * smat(rate), tau * rate_x)
        x = torch.as_tensor(svec(solution.x), dtype=w.dtype, device=w.device)
        if self.penalty:
            dw = torch.addcdiv(dw, block.gradients @ x, snapshot.preconditioner, value=-self.penalty)
        drift = tuple(d + d_x @ x for d, d_x in zip(drift, drift_x, strict=True))
        oscillation = Oscillation(block.basis, block.products, block.curvatures, solution)
        return dw, drift, snapshot._replace(oscillation=oscillation)

    def _fresh(self, point: Point, preconditioner: Tensor, frame: Frame) -> CriticalBlock | None:
        """Return the critical block evaluated at a point, or None if no mode is critical."""
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
        return CriticalBlock(basis, products, curvatures, slack, gradients, pairs(basis, preconditioner))


@dataclass(frozen=True)
class AblatedFlow(CentralFlow):
    r"""The central flow without the curvature penalty: $dw/dt = -P^{-1} \nabla L$, with the drift averaged over
    $\Sigma$.

    Oscillations still act on the optimizer's state, and through it on the step sizes. $\Sigma$ is therefore the
    covariance that keeps $2P - H \succeq 0$ by the growth of $P$ alone. Without the penalty, the complementarity
    problem has $\dot A_1[X] = 2 U' \dot P[X] U$. For Scalar RMSProp with one critical mode, $P$ is a number that
    follows the sharpness, $P = S/2$, and $dw/dt = -(2/S) \nabla L$. For an optimizer without a state (gradient
    descent), $P$ cannot grow: its ablated flow is its stable flow.

    Source: arXiv:2410.24206, the ablation that shows how the curvature penalty acts; derived here for every optimizer.
    """

    name: ClassVar[str] = "ablated"

    penalty: ClassVar[float] = 0.0

    def velocity(self, time, w, state, frame):
        return super().velocity(time, w, state, frame) if state else self._smooth_velocity(time, w, state)
