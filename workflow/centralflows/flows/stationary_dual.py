r"""The convex program of a stationary preconditioner (see `stationary_state`): an independent solver and a certificate.

$\min_P \sum c(P)$ subject to $H \preceq 2P$, with P diagonal or a multiple of the identity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from .stationary_state import Stationary


class Program(NamedTuple):
    r"""The convex program: $s$, and the hyperparameters of an EMA's preconditioner.

    Attributes:
        square: $s$, `[p]` for a preconditioner with one number per weight, `[1]` for a single number.
        lr, eps: $\eta$ and $\epsilon$.
    """

    square: Float[Tensor, " *p"]
    lr: float
    eps: float = 0.0

    def cost(self, preconditioner: Float[Tensor, " *p"]) -> float:
        """Return the objective: the sum of c over the entries of P."""
        p, lr, eps = preconditioner, self.lr, self.eps
        return 0.5 * (lr**2 * p - 2 * lr * eps * p.log() + (self.square - eps**2) / p).sum().item()

    def diagonal(self, factor: Float[Tensor, "p r"]) -> Float[Tensor, " *p"]:
        r"""Return $\mathrm{sq}(V V')$."""
        rows = factor.square().sum(1)
        return rows if len(self.square) == len(rows) else rows.sum().reshape(1)

    def minimiser(self, z: Float[Tensor, " *p"]) -> Float[Tensor, " *p"]:
        r"""Return the P that minimises $c(P) - 2 z P$, for $0 \le z < \eta^2/4$; it satisfies $z(P) = z$."""
        lr, eps = self.lr, self.eps
        root = (lr**2 * self.square + 4 * z * (eps**2 - self.square)).clamp_min(0).sqrt()
        return (lr * eps + root) / (lr**2 - 4 * z)

    def dual(self, factor: Float[Tensor, "p r"], products: Float[Tensor, "p r"]) -> float:
        r"""Return a lower bound on the cost of every feasible P, from $\Sigma = V V'$ with $V$ and $H V$ given."""
        z = self.diagonal(factor)
        best = self.minimiser(z)
        return self.cost(best) - 2 * (best * z).sum().item() + (factor * products).sum().item()


def duality_gap(program: Program, found: Stationary) -> float:
    r"""Return a bound, at least 0, on the relative distance of a stationary state from the convex program's optimal
    cost.

    P is scaled up until $H \preceq 2P$, and $\Sigma$ is scaled down into the domain of the dual. Weak duality then
    gives the bound. It holds if the spectrum's largest eigenvalue is right, at any size of the network.
    """
    preconditioner = found.preconditioner.double() * max(1.0, found.spectrum.values[0].item() / 2)
    factor = products = found.preconditioner.new_zeros(len(found.spectrum.vectors), 1).double()
    if found.oscillation is not None:
        variances, rotation = np.linalg.eigh(found.oscillation.solution.x)
        mix = torch.as_tensor(rotation * np.sqrt(np.maximum(variances, 0.0))).to(factor)
        factor, products = found.oscillation.basis.double() @ mix, found.oscillation.products.double() @ mix
    room = (1 - 1e-12) * program.lr**2 / 4 / program.diagonal(factor).max().clamp_min(1e-300)
    shrink = room.clamp_max(1.0).sqrt()
    cost = program.cost(preconditioner)
    return (cost - program.dual(shrink * factor, shrink * products)) / abs(cost)


def solve(
    hessian_product: Callable[[Float[Tensor, "p r"]], Float[Tensor, "p r"]],
    program: Program,
    *,
    p: int,
    rank: int,
    iterations: int = 5000,
    seed: int = 0,
) -> tuple[Float[Tensor, " *p"], float]:
    r"""Return the solution P of the convex program and its duality gap, from the dual with $\Sigma = V V'$ of low rank.

    The dual, $\max_{\Sigma \succeq 0} \; \min_P [\sum c(P) - \langle \Sigma, 2P \rangle] + \langle \Sigma, H \rangle$,
    needs Hessian-vector products only. $V = \tfrac\eta2 Y / \sqrt{1 + \mathrm{sq}(YY')}$ stays in its domain
    $\mathrm{sq}(\Sigma) < \eta^2/4$ for every $Y$, and L-BFGS maximises over $Y$. A local maximum is a global one if
    the rank exceeds that of the solution (Burer and Monteiro, 2003). The solver is slow if $s$ spans many orders of
    magnitude, as in large networks. The gap shows this, as it includes the violation of $H \preceq 2P$ on the span of
    $V$.

    Args:
        hessian_product: $H$ applied to columns, float64.
        program: costs; `square` positive.
        rank: columns of $V$.

    Returns:
        P, `[p]` or `[1]`, scaled up to satisfy the constraint on the span of $V$, and the duality gap relative to its
        cost.

    Source: arXiv:2410.24206 for the program; its dual and the treatment of $\epsilon$ are derived here.
    """
    half = program.lr / 2

    def factors(y: Tensor) -> tuple[Tensor, Tensor]:
        bound = 1 + program.diagonal(y)
        return half * y / bound.sqrt()[:, None], bound

    def downhill(flat: np.ndarray, size: float = 1.0) -> tuple[float, np.ndarray]:
        y = torch.as_tensor(flat).reshape(p, rank).to(program.square)
        v, bound = factors(y)
        products = hessian_product(v)
        best = program.minimiser(program.diagonal(v))
        by_v = 2 * (products - 2 * best[:, None] * v)  # envelope theorem: P is constant to first order
        along = (by_v * v).sum(1)
        along = (along if len(best) == p else along.sum()) / bound
        by_y = half * by_v / bound.sqrt()[:, None] - along[:, None] * y
        return -size * program.dual(v, products), -size * by_y.reshape(-1).cpu().numpy()

    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(p * rank, generator=generator, dtype=torch.float64).numpy()
    size = 1 / max(abs(downhill(start)[0]), 1e-300)
    options = {"maxiter": iterations, "maxfun": 10 * iterations, "maxcor": 30, "ftol": 1e-16, "gtol": 1e-14}
    found = minimize(downhill, start, args=(size,), jac=True, method="L-BFGS-B", options=options)
    v, _ = factors(torch.as_tensor(found.x).reshape(p, rank).to(program.square))
    best = program.minimiser(program.diagonal(v))
    q = torch.linalg.qr(v * best.sqrt()[:, None])[0] * best.rsqrt()[:, None]
    edge = torch.linalg.eigvalsh(q.T @ hessian_product(q))[-1] / 2
    best = best * edge.clamp_min(1.0)
    return best, (program.cost(best) + found.fun / size) / abs(program.cost(best))
