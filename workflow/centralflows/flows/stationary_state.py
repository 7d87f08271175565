r"""Stationary states: the fixed point of an optimizer's state while the weights are held.

With $w$ held, the averaged drift of an EMA is $\dot\nu \propto s + \mathrm{sq}(H \Sigma H) - \nu$, where $s$ is the
squared gradient and $\mathrm{sq}$ the diagonal (RMSProp) or the trace (Scalar RMSProp). At its fixed point,
$H \Sigma = 2 P \Sigma$ turns this into

$$\bar\nu = s + 4 P^2 \, \mathrm{sq}(\Sigma), \qquad P = (\sqrt{\bar\nu} + \epsilon) / \eta, \qquad
0 \preceq \Sigma \perp 2P - H \succeq 0.$$

Solved for $\mathrm{sq}(\Sigma)$, entry by entry, that is $\mathrm{sq}(\Sigma) = z(P)$ with
$z(P) = ((\eta P - \epsilon)^2 - s) / 4P^2$, whose derivative $(\epsilon(\eta P - \epsilon) + s) / 2P^3$ is not
negative. These are therefore the optimality conditions of a convex program,

$$\bar P = \arg\min_P \sum_i c_i(P_i) \quad \text{subject to } H \preceq 2P, \qquad c'(P) = 2 z(P), \quad
c(P) = \tfrac12 \left[\eta^2 P - 2 \eta \epsilon \log P + (s - \epsilon^2) / P\right],$$

with $\Sigma$ the multiplier of the constraint. For $\epsilon = 0$, the objective is $\tfrac12 \eta^2$ times the paper's
$\mathrm{tr} P + \eta^{-2} |\nabla L|^2_{P^{-1}}$. Without the gradient ($s = 0$) the same holds for $\hat P$. `settle`
finds the fixed point, and `stationary_dual.solve` solves the convex program; the two are independent.

For Scalar RMSProp, $P$ is one number: the larger of the values with $\sqrt{\nu} = |\nabla L|$ and with $P = S/2$. Hence
$\bar\nu = \max(|\nabla L|^2, (\eta S / 2 - \epsilon)^2)$ with the sharpness $S$. Its stationary flow is
$\dot w = -\tfrac2S [\nabla L + \tfrac12 (\tfrac{\eta^2}4 - |\nabla L|^2 / S^2) \nabla S]$ at the edge of stability, for
$\epsilon = 0$.

Source: arXiv:2410.24206, the stationary EMA and the preconditioner that it belongs to; the treatment of $\epsilon$ is
derived here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..common.errors import UserError
from ..config.processes import SETTLED
from ..derivatives.eigen_solver import Spectrum
from ..derivatives.eigen_tracker import EigenTracker
from ..derivatives.point import Point
from ..derivatives.svec import smat, svec
from ..optimizers.optimizer import Optimizer, State
from .complementarity import solve_sdcp
from .gram import gram
from .oscillation import Oscillation


class Unsettled(UserError, ArithmeticError):
    """The state did not converge to a stationary value."""


class Stationary(NamedTuple):
    r"""An optimizer's state at its stationary value, with its spectrum and oscillation.

    Attributes:
        state: the state, without bias correction.
        preconditioner: diag(P) `[p]` or `[1]`.
        spectrum: of the effective Hessian with this preconditioner.
        oscillation: $\Sigma$, or None if nothing oscillates.
        residual: the remaining drift times the state's memory, relative to the state.
    """

    state: State
    preconditioner: Float[Tensor, " *p"]
    spectrum: Spectrum
    oscillation: Oscillation | None
    residual: float


def settle(
    point: Point,
    optimizer: Optimizer,
    step: Tensor,
    state: State,
    tracker: EigenTracker,
    *,
    gradient: Float[Tensor, " p"] | None = None,
    tolerance: float = 1e-4,
    iterations: int = 300,
) -> Stationary:
    r"""Return the stationary state at a point, the fixed point of the state's averaged dynamics with $w$ and $\eta$
    held.

    It is found by Euler steps of half the state's memory, under the complementarity problem with that relaxation time,
    until the residual is below the tolerance. Each step halves the error, from any positive state.

    Args:
        step: the optimizer's step counter, for its learning rate.
        state: initial guess.
        tracker: of the effective eigenvalues; its eigenvectors carry over from call to call.
        gradient: that of the point by default; zeros for the preconditioner $\hat P$, which depends on the curvature
            only.

    Raises:
        Unsettled: the residual stays above the tolerance, or the optimizer has no state.
    """
    if not state:
        raise Unsettled(f"{type(optimizer).__name__} has no state that could settle")
    optimizer = optimizer.asymptotic()
    gradient = point.gradient if gradient is None else gradient
    state = _feasible(point, optimizer, step, state, tracker)
    spectra: list[Spectrum] = []

    def vectors(preconditioner: Tensor) -> Tensor:
        spectra.append(tracker.update(point, preconditioner))
        return spectra[-1].vectors[:, spectra[-1].values > SETTLED]

    state, oscillation, residual = relaxed(
        point, optimizer, step, state, gradient, vectors, tolerance=tolerance, iterations=iterations
    )
    preconditioner = optimizer.preconditioner(step, state).to(point.w)
    return Stationary(state, preconditioner, spectra[-1], oscillation, residual)


def relaxed(
    point: Point,
    optimizer: Optimizer,
    step: Tensor,
    state: State,
    gradient: Float[Tensor, " p"],
    vectors: Callable[[Tensor], Float[Tensor, "p m"]],
    *,
    tolerance: float,
    iterations: int,
) -> tuple[State, Oscillation | None, float]:
    """Return the state at which `_relax` converges, the oscillation there, and the residual.

    `vectors` returns the held eigenvectors for a diag(P), and is called before every step.

    Raises:
        Unsettled: the residual stays above the tolerance.
    """
    for _ in range(iterations):
        held = vectors(optimizer.preconditioner(step, state).to(point.w))
        following, oscillation, residual = _relax(point, optimizer, step, state, gradient, held)
        if residual <= tolerance:
            return state, oscillation, residual
        state = following
    raise Unsettled(
        f"the state does not settle: residual {residual:.1e} after {iterations} steps, tolerance {tolerance:g}"
    )


def _feasible(point: Point, optimizer: Optimizer, step: Tensor, state: State, tracker: EigenTracker) -> State:
    """Return the state, or a multiple of it, such that no effective eigenvalue is far above 2.

    From a state that is far too small, convergence takes many steps.
    """
    preconditioner = optimizer.preconditioner(step, state).to(point.w)
    vectors = None if tracker.vectors is None else tracker.vectors[:, :2]
    top = replace(tracker, threshold=torch.inf, minimum=1, modes=1, vectors=vectors, tolerance=1e-3)
    excess = top.update(point, preconditioner).values[0] / 2
    if excess <= 1.1:
        return state
    for power in range(1, 400):
        raised = tuple(2.0**power * part for part in state)
        if (optimizer.preconditioner(step, raised).to(point.w) >= excess * preconditioner).all():
            return raised
    raise Unsettled("no multiple of the state satisfies H <= 2P")


def _relax(
    point: Point,
    optimizer: Optimizer,
    step: Tensor,
    state: State,
    gradient: Float[Tensor, " p"],
    vectors: Float[Tensor, "p m"],
) -> tuple[State, Oscillation | None, float]:
    """Return (state, oscillation, residual) after half a memory of averaged dynamics, with $w$ and the vectors held."""
    preconditioner = optimizer.preconditioner(step, state).to(point.w)
    drift = optimizer.drift(step, state, gradient)
    memory = _memory(optimizer, step, state, gradient)
    tau, oscillation = memory / 2, None
    basis = vectors * preconditioner[:, None].rsqrt()
    if basis.shape[1]:
        products = point.hessian_product(basis)

        def slack_rate(drift: State) -> np.ndarray:
            rate = optimizer.preconditioner_rate(step, state, 0.0, drift).to(point.w)
            return svec(2 * gram(basis, rate[:, None] * basis))

        curvatures = gram(basis, products)
        curvatures = (curvatures + curvatures.T) / 2
        # At convergence, H U = 2 P U in oscillating directions. Using this from the first step makes B symmetric and
        # monotone.
        edge_products = 2 * preconditioner[:, None] * basis
        drift_x = optimizer.drift_curvature(step, state, gradient, edge_products)
        rate_x = [slack_rate(tuple(d[..., a] for d in drift_x)) for a in range(drift_x[0].shape[-1])]
        slack = 2 * np.eye(len(curvatures)) - curvatures + tau * smat(slack_rate(drift))
        # The next step corrects the remaining error. The residual decides about convergence, and this tolerance does
        # not.
        solution = solve_sdcp(slack, tau * np.stack(rate_x, axis=1), tolerance=1e-2)
        x = torch.as_tensor(svec(solution.x)).to(gradient)
        drift = tuple(d + d_x @ x for d, d_x in zip(drift, drift_x, strict=True))
        oscillation = Oscillation(basis, products, curvatures, solution) if solution.x.any() else None
    residual = memory * _norm(drift) / max(_norm(state), torch.finfo(gradient.dtype).tiny)
    return tuple(s + tau * d for s, d in zip(state, drift, strict=True)), oscillation, residual


def _memory(optimizer: Optimizer, step: Tensor, state: State, gradient: Tensor) -> float:
    """Return the time scale of a state's own drift [optimizer steps]: |s| over the derivative of the drift along s."""
    _, decay = torch.func.jvp(lambda *s: optimizer.drift(step, s, gradient), state, state)
    return _norm(state) / max(_norm(decay), torch.finfo(gradient.dtype).tiny)


def _norm(state: State) -> float:
    return sum(part.double().square().sum().item() for part in state) ** 0.5
