r"""The critical block of the Hessian, expanded about the point where its eigenpairs were solved.

With $U$ the critical eigenvectors there, $C = U' H(w) U$ and its gradients $T_a = \nabla_w \langle E_a, U' H U \rangle$ are
all that a central flow needs of second and third derivatives within a unit of time: $C$ follows from $T$ to first order in
the change of $w$, and $H U$ and $T$, which change slowly, are extrapolated in time from what they were before, the
rotation of $U$ included. So a unit costs third derivatives at one point at most, and none while those extrapolated
turn out right.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from .derivatives import Point
from .spectrum import Spectrum
from .symmetric import smat, svec, triangle

LONGEST = 8  # units of time between two evaluations of third derivatives


class Edge(NamedTuple):
    r"""The critical modes at the start of a unit of time.

    Attributes:
        time: when [optimizer steps].
        w: where `[p]`.
        vectors: orthonormal eigenvectors $V$ of the symmetrised effective Hessian `[p, k]`.
        basis: $U = P^{-1/2} V$ `[p, k]`.
        products: $H U$ `[p, k]`.
        product_rates: its change per unit of time, that of $U$ included.
        curvatures: $U' H U$ `[k, k]`.
        gradients: $T$ in the coordinates of `symmetric` `[p, q]`.
        gradient_rates: its change per unit of time.
        measured: when the third derivatives were evaluated last.
        interval: units of time from that to the next evaluation.
    """

    time: float
    w: Float[Tensor, " p"]
    vectors: Float[Tensor, "p k"]
    basis: Float[Tensor, "p k"]
    products: Float[Tensor, "p k"]
    product_rates: Float[Tensor, "p k"]
    curvatures: Float[ndarray, "k k"]
    gradients: Float[Tensor, "p q"]
    gradient_rates: Float[Tensor, "p q"]
    measured: float
    interval: float

    def gradients_at(self, time: float) -> Float[Tensor, "p q"]:
        return torch.add(self.gradients, self.gradient_rates, alpha=time - self.time)

    def products_at(self, time: float) -> Float[Tensor, "p k"]:
        return torch.add(self.products, self.product_rates, alpha=time - self.time)

    def curvatures_at(self, time: float, w: Float[Tensor, " p"]) -> Float[ndarray, "k k"]:
        r"""$C + \int T' dw$, to second order in the time since the start."""
        moved = self.gradients_at((time + self.time) / 2).T @ (w - self.w)
        return self.curvatures + smat(moved.double().cpu().numpy())


def edge(
    time: float,
    point: Point,
    preconditioner: Float[Tensor, " *p"],
    spectrum: Spectrum,
    critical: list[int],
    before: Edge | None,
    *,
    tolerance: float,
) -> Edge:
    """The expansion at a point, from the one before it where that has as many modes in nearly the same span.

    Args:
        critical: which modes of the spectrum take part.
        tolerance: on the error of extrapolated third derivatives, relative and in the norm of the velocity. As it grows
            with the square of the interval, the interval is doubled where a fourth of the tolerance is kept.
    """
    root = preconditioner.sqrt()[:, None]
    vectors, images = spectrum.vectors.T[critical].T, spectrum.images.T[critical].T
    basis, products = vectors / root, root * images
    curvatures = (vectors.double().T @ images.double()).cpu().numpy()
    turned = None if before is None else _turned(before, vectors, time)
    if turned is None:
        gradients = point.curvature_gradients(basis)
        rates, still, measured, interval = torch.zeros_like(gradients), torch.zeros_like(products), time, 1.0
    else:
        expected, rates, still = turned
        still = (products - still) / (time - before.time)
        measured, interval = before.measured, before.interval
        if time - measured < interval:
            gradients = expected
        else:
            gradients, gap = point.curvature_gradients(basis), time - measured
            missed = gradients - expected
            rates = rates + missed / gap
            error = ((missed / root).norm() / (gradients / root).norm()).item()
            longer = min(2 * interval, LONGEST) if error <= tolerance / 4 else interval
            measured, interval = time, longer if error <= tolerance else max(1.0, interval / 2)
    return Edge(
        time,
        point.w.detach(),
        vectors,
        basis,
        products,
        still,
        (curvatures + curvatures.T) / 2,
        gradients,
        rates,
        measured,
        interval,
    )


def _turned(before: Edge, vectors: Float[Tensor, "p k"], time: float) -> tuple[Tensor, Tensor, Tensor] | None:
    """(gradients at a time, their rates, products before) of an earlier expansion in the basis of new vectors.

    None where the vectors span something else. Within a cluster of eigenvalues they are arbitrary up to a rotation.
    """
    if before.vectors.shape != vectors.shape:
        return None
    left, overlaps, right = np.linalg.svd((before.vectors.T @ vectors).double().cpu().numpy())
    if overlaps[-1] < 0.9:
        return None
    rotation = left @ right
    units = np.eye(before.gradients.shape[1])
    congruence = np.stack([svec(rotation @ smat(unit) @ rotation.T) for unit in units])
    turns = [torch.as_tensor(turn).to(vectors) for turn in (congruence, congruence, rotation.T)]
    turned = before.gradients_at(time), before.gradient_rates, before.products
    # As rows, which are contiguous.
    gradients, rates, products = ((turn @ part.T).T for turn, part in zip(turns, turned, strict=True))
    return gradients, rates, products


class Block(NamedTuple):
    r"""The critical block at a point.

    Attributes:
        basis, products, curvatures: $U$, $H U$ and $U' H U$.
        slack: $A = U' (2P - H) U$.
        gradients: of $U' H U$ with $U$ held, in the coordinates of `symmetric`.
    """

    basis: Float[Tensor, "p k"]
    products: Float[Tensor, "p k"]
    curvatures: Float[ndarray, "k k"]
    slack: Float[ndarray, "k k"]
    gradients: Float[Tensor, "p q"]

    @classmethod
    def expanded(cls, edge: Edge, time: float, w: Tensor, preconditioner: Tensor) -> Block:
        """What an expansion says of a time and a point near its own."""
        curvatures = edge.curvatures_at(time, w)
        slack = 2 * gram(edge.basis, preconditioner[:, None] * edge.basis) - curvatures
        return cls(edge.basis, edge.products_at(time), curvatures, (slack + slack.T) / 2, edge.gradients_at(time))

    def growth(self, rates: Float[Tensor, "*p c"]) -> Float[ndarray, "q c"]:
        """svec(2 U' diag(r) U) for each column r."""
        if len(rates) == 1:
            return 2 * np.outer(svec(gram(self.basis, self.basis)), rates[0].double().cpu().numpy())
        rows, columns, scales = triangle(self.basis.shape[1])
        pairs = [scale * self.basis[:, i] * self.basis[:, j] for i, j, scale in zip(rows, columns, scales, strict=True)]
        return 2 * gram(torch.stack(pairs).T, rates)


def gram(a: Tensor, b: Tensor) -> ndarray:
    """a' b, summed in float64: rounding in float32 would make the complementarity problem lose its monotonicity."""
    return (a.double().T @ b.double()).cpu().numpy()
