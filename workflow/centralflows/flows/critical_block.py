r"""The critical block of the Hessian, expanded about the point where its eigenpairs were solved.

Let $U$ be the critical eigenvectors at that point. Within a unit of time, a central flow needs only these second and
third derivatives: $C = U' H(w) U$, its gradients $T_a = \nabla_w \langle E_a, U' H U \rangle$, and $H U$. $H U$ and $T$
change slowly and are extrapolated in time, including the rotation of $U$. $C$ follows from $T$ and its rate, to second
order in time. A unit of time therefore evaluates third derivatives at one point at most, and at none while the
extrapolation stays accurate. If they change too fast to be followed, each velocity evaluates them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from ..derivatives.eigen_solver import Spectrum
from ..derivatives.point import Point
from ..derivatives.svec import smat, svec, triangle
from .gram import gram

LONGEST = 8.0  # largest number of units of time between two evaluations of third derivatives
STEADY = 0.3  # relative error of followed third derivatives above which each velocity evaluates its own


class FollowedThirdDerivatives(NamedTuple):
    """Third derivatives followed in time.

    Attributes:
        gradients: $T$ at the last evaluation, in the current basis and the coordinates of `svec` `[p, q]`.
        rates: change of $T$ per unit of time between the last two evaluations, the rotation of $U$ included.
        measured: time of the last evaluation.
        interval: units of time from the last evaluation to the next.
        extrapolated: whether extrapolation with the rates would have reduced the error at the last evaluation.
        steady: whether the error at the last evaluation was small enough to follow $T$.
    """

    gradients: Float[Tensor, "p q"]
    rates: Float[Tensor, "p q"]
    measured: float
    interval: float = 1.0
    extrapolated: bool = True
    steady: bool = False

    def at(self, time: float) -> Float[Tensor, "p q"]:
        """Return $T$ at a time."""
        past = time - self.measured
        return torch.add(self.gradients, self.rates, alpha=past) if self.extrapolated and past else self.gradients

    def corrected(
        self, time: float, gradients: Float[Tensor, "p q"], root: Tensor, tolerance: float, shortest: float = 1.0
    ) -> FollowedThirdDerivatives:
        """Return the followed third derivatives after another evaluation.

        Args:
            root: square root of diag(P) `[*p, 1]`; errors are measured in the norm of the velocity.
            tolerance: on the relative error. The error of an extrapolation grows with the square of the interval, so
                the interval is doubled if the error is at most a fourth of the tolerance.
            shortest: smallest interval [optimizer steps].
        """
        gap, change = time - self.measured, gradients - self.gradients
        parts = change, torch.sub(change, self.rates, alpha=gap), gradients
        if len(root) > 1:  # a scalar P cancels in the ratio
            parts = [part / root for part in parts]
        held, extrapolated, whole = torch.stack([torch.linalg.vector_norm(part) for part in parts]).tolist()
        error = min(held, extrapolated) / whole if whole else 0.0  # zero for a quadratic loss
        interval = self.interval
        if error <= tolerance / 4:
            interval = min(2 * interval, LONGEST)
        elif error > tolerance:
            interval = max(interval / 2, shortest)
        return FollowedThirdDerivatives(gradients, change / gap, time, interval, extrapolated < held, error <= STEADY)


class CriticalExpansion(NamedTuple):
    """The critical modes at the start of a unit of time, and their rates of change.

    Attributes:
        time: time of the expansion [optimizer steps].
        w: point of the expansion `[p]`.
        vectors: orthonormal eigenvectors $V$ of the symmetrised effective Hessian `[p, k]`.
        basis: $U = P^{-1/2} V$ `[p, k]`.
        products: $H U$ `[p, k]`.
        product_rates: change of $H U$ per unit of time, that of $U$ included.
        pairs: `pairs` of the basis.
        curvatures: $U' H U$ `[k, k]`.
        third: $T$.
    """

    time: float
    w: Float[Tensor, " p"]
    vectors: Float[Tensor, "p k"]
    basis: Float[Tensor, "p k"]
    products: Float[Tensor, "p k"]
    product_rates: Float[Tensor, "p k"]
    pairs: Float[Tensor, "*p q"]
    curvatures: Float[ndarray, "k k"]
    third: FollowedThirdDerivatives

    def products_at(self, time: float) -> Float[Tensor, "p k"]:
        """Return $H U$ at a time."""
        past = time - self.time
        return torch.add(self.products, self.product_rates, alpha=past) if past else self.products

    def curvatures_at(self, time: float, w: Float[Tensor, " p"]) -> Float[ndarray, "k k"]:
        r"""Return $C + \int T' dw$ at a time and a point, to second order in the time since the start."""
        third, moved = self.third, w - self.w
        change = third.gradients.T @ moved
        if third.extrapolated:
            change = change + ((time + self.time) / 2 - third.measured) * (third.rates.T @ moved)
        return self.curvatures + smat(change.double().cpu().numpy())


def expand(
    time: float,
    point: Point,
    preconditioner: Float[Tensor, " *p"],
    spectrum: Spectrum,
    critical: list[int],
    before: CriticalExpansion | None,
    *,
    tolerance: float,
) -> CriticalExpansion:
    """Return the critical expansion at a point.

    It continues the expansion before it, if that has the same number of modes and nearly the same subspace.

    Args:
        critical: indices of the critical modes in the spectrum.
        tolerance: on the relative error of followed third derivatives.
    """
    root = preconditioner.sqrt()[:, None]
    vectors, images = spectrum.vectors.T[critical].T, spectrum.images.T[critical].T
    basis, products = vectors / root, root * images
    rotation = None if before is None else _rotation(before.vectors, vectors)
    if rotation is None:
        gradients = point.curvature_gradients(basis)
        # A change of the critical modes does not make third derivatives change faster.
        steady = before is not None and before.third.steady
        third = FollowedThirdDerivatives(gradients, torch.zeros_like(gradients), time, steady=steady)
        rates = torch.zeros_like(products)
    else:
        third = _turned(before.third, rotation)
        turn, gap = torch.as_tensor(rotation.T).to(products), time - before.time
        rates = torch.addmm(products.T, turn, before.products.T, beta=1 / gap, alpha=-1 / gap).T
        if gap < 1 or time - third.measured >= third.interval:  # shorter where the flow changes fast
            third = third.corrected(time, point.curvature_gradients(basis), root, tolerance, gap)
    curvatures = gram(vectors, images)
    curvatures = (curvatures + curvatures.T) / 2
    held = pairs(basis, preconditioner)
    return CriticalExpansion(time, point.w.detach(), vectors, basis, products, rates, held, curvatures, third)


def _rotation(before: Float[Tensor, "p j"], vectors: Float[Tensor, "p k"]) -> Float[ndarray, "k k"] | None:
    """Return the rotation R that takes the vectors nearest to new ones, or None if their subspaces differ.

    Within a cluster of eigenvalues, the new eigenvectors are arbitrary.
    """
    if before.shape != vectors.shape:
        return None
    left, overlaps, right = np.linalg.svd(gram(before, vectors))
    return left @ right if overlaps[-1] > 0.9 else None


def _turned(third: FollowedThirdDerivatives, rotation: Float[ndarray, "k k"]) -> FollowedThirdDerivatives:
    r"""Return third derivatives in the basis $U R$: $\langle X, R' C R \rangle = \langle R X R', C \rangle$."""
    units = np.eye(third.gradients.shape[1])
    turn = np.stack([svec(rotation @ smat(unit) @ rotation.T) for unit in units])
    return third._replace(gradients=_rows(turn, third.gradients), rates=_rows(turn, third.rates))


def _rows(matrix: Float[ndarray, "c b"], columns: Float[Tensor, "p b"]) -> Float[Tensor, "p c"]:
    """Return columns @ matrix', computed on rows, which are contiguous."""
    return (torch.as_tensor(matrix).to(columns) @ columns.T).T


class CriticalBlock(NamedTuple):
    """The critical block at a point.

    Attributes:
        basis, products, curvatures: $U$, $H U$ and $U' H U$.
        slack: $A = U' (2P - H) U$.
        gradients: gradients of $U' H U$ with $U$ held, in the coordinates of `svec`.
        pairs: `pairs` of the basis.
    """

    basis: Float[Tensor, "p k"]
    products: Float[Tensor, "p k"]
    curvatures: Float[ndarray, "k k"]
    slack: Float[ndarray, "k k"]
    gradients: Float[Tensor, "p q"]
    pairs: Float[Tensor, "*p q"]

    @classmethod
    def expanded(cls, expansion: CriticalExpansion, time: float, w: Tensor, preconditioner: Tensor) -> CriticalBlock:
        """Return the critical block that an expansion predicts at a time and a point close to its own."""
        curvatures = expansion.curvatures_at(time, w)
        slack = smat(2 * gram(expansion.pairs, preconditioner[:, None])[:, 0]) - curvatures
        return cls(
            expansion.basis, expansion.products_at(time), curvatures, slack, expansion.third.at(time), expansion.pairs
        )

    def growth(self, rates: Float[Tensor, "*p c"]) -> Float[ndarray, "q c"]:
        """Return svec(2 U' diag(r) U) for each column r."""
        return 2 * gram(self.pairs, rates)


def pairs(basis: Float[Tensor, "p k"], preconditioner: Float[Tensor, " *p"]) -> Float[Tensor, "*p q"]:
    """Return the matrix whose transposed product with an r of the shape of diag(P) is svec(U' diag(r) U)."""
    if len(preconditioner) == 1:
        return torch.as_tensor(svec(gram(basis, basis)), device=basis.device)[None]
    rows, columns, scales = triangle(basis.shape[1])
    products = [scale * basis[:, i] * basis[:, j] for i, j, scale in zip(rows, columns, scales.tolist(), strict=True)]
    return torch.stack(products).T
