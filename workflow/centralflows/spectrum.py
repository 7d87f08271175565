r"""The top of the spectrum of the effective Hessian, followed from step to step.

$P^{-1} H$ has the eigenvalues of the symmetric $P^{-1/2} H P^{-1/2}$; with orthonormal eigenvectors $V$ of the latter,
$U = P^{-1/2} V$ satisfies $H U = P U \Lambda$ and $U' P U = I$.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .derivatives import Point


class Spectrum(NamedTuple):
    """Leading eigenpairs of a symmetric operator, largest first.

    Attributes:
        values: eigenvalues `[m]`.
        vectors: orthonormal eigenvectors `[p, m]`.
        residuals: |A v - lambda v| / |lambda_1|, `[m]`.
        products: how many operator-vector products were spent.
    """

    values: Float[Tensor, " m"]
    vectors: Float[Tensor, "p m"]
    residuals: Float[Tensor, " m"]
    products: int


def leading_eigenpairs(
    operator: Callable[[Float[Tensor, "p m"]], Float[Tensor, "p m"]],
    guess: Float[Tensor, "p b"],
    *,
    wanted: int,
    tolerance: float,
    iterations: int = 200,
) -> Spectrum:
    r"""The `b` leading eigenpairs by block LOBPCG, of which the first `wanted` must converge.

    Each iteration minimises over the span of the current vectors, their residuals and the previous change. Vectors that
    have converged send no residual, so a good guess costs `b` products and little more. Columns beyond `wanted` only
    help: they widen the gap, and they catch a mode that overtakes.

    Args:
        operator: a symmetric operator, applied to columns.
        guess: `[p, b]`, linearly independent columns; any scale.
        wanted: how many pairs must reach the tolerance.
        tolerance: on the residual relative to the largest eigenvalue.
        iterations: where to stop without convergence; the residuals returned tell.

    Source: A. V. Knyazev, "Toward the optimal preconditioned eigensolver", SIAM J. Sci. Comput. 23 (2001), without
    preconditioner; soft locking as in Knyazev et al. (2007).
    """
    width = guess.shape[1]
    vectors = _orthonormal(guess)
    images = operator(vectors)
    products = width
    vectors, images, values, _, _ = _rayleigh_ritz(vectors, images, width)
    change = change_images = vectors[:, :0]
    best = torch.inf
    stalled = 0
    for _ in range(iterations):
        residual = images - vectors * values
        norms = residual.norm(dim=0) / values.abs().max().clamp_min(torch.finfo(values.dtype).tiny)
        worst = norms[:wanted].max()
        # Rounding sets a floor under the residual; three iterations without progress mean that it is reached.
        stalled = 0 if worst < 0.7 * best else stalled + 1
        best = min(best, worst)
        if worst <= tolerance or stalled >= 3:
            break
        active = norms > tolerance
        directions = _orthogonal_to(vectors, residual[:, active])
        direction_images = operator(directions)
        products += directions.shape[1]
        space = torch.cat([vectors, directions, change], dim=1)
        space_images = torch.cat([images, direction_images, change_images], dim=1)
        vectors, images, values, change, change_images = _rayleigh_ritz(space, space_images, width)
    residual = (images - vectors * values).norm(dim=0) / values.abs().max().clamp_min(torch.finfo(values.dtype).tiny)
    return Spectrum(values, vectors, residual, products)


def _rayleigh_ritz(space: Tensor, images: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The best `width` vectors of a subspace, their images and values, and how they changed beyond the first columns.

    The small matrices are float64. Directions of the subspace that are dependent to rounding are dropped.
    """
    space_norms = space.norm(dim=0).clamp_min(torch.finfo(space.dtype).tiny)
    space, images = space / space_norms, images / space_norms
    gram, form = (space.T @ space).double(), (space.T @ images).double()
    scale, rotation = torch.linalg.eigh((gram + gram.T) / 2)
    keep = scale > scale[-1] * space.shape[1] * 10 * torch.finfo(space.dtype).eps
    whiten = rotation[:, keep] / scale[keep].sqrt()
    values, mix = torch.linalg.eigh(whiten.T @ ((form + form.T) / 2) @ whiten)
    mix = (whiten @ mix.flip(1)[:, :width]).to(space.dtype)
    beyond = mix.clone()
    beyond[:width] = 0
    return (
        space @ mix,
        images @ mix,
        values.flip(0)[:width].to(space.dtype),
        space @ beyond,
        images @ beyond,
    )


def _orthonormal(columns: Tensor) -> Tensor:
    """An orthonormal basis of the span (Householder QR: exact also for nearly dependent columns)."""
    return torch.linalg.qr(columns)[0]


def _orthogonal_to(basis: Tensor, columns: Tensor) -> Tensor:
    """Unit columns without their part in the span of an orthonormal basis."""
    columns = columns / columns.norm(dim=0)
    columns = columns - basis @ (basis.T @ columns)
    return columns / columns.norm(dim=0)


@dataclass
class Tracker:
    """Follows all eigenvalues of the effective Hessian above a threshold, and at least one below it.

    The block it iterates on carries one guard vector more than the modes reported. The guard gets a little seeded noise
    at every solve, so that a mode without any coupling to the block, which a warm-started solver would never see, is
    found within a few steps after it rises.

    Attributes:
        threshold: modes above it are tracked; the count grows until the smallest tracked one is below. Infinity keeps
            the count at `minimum`.
        minimum, maximum: bounds on the number of modes.
        tolerance: on the relative residual of every tracked mode.
        seed: of the first guess and of the noise.
        vectors: eigenvectors of the last solve and the guard, `[p, m + 1]`; empty before the first. Together with
            `solves` it is the whole state.
    """

    threshold: float = 1.5
    minimum: int = 1
    maximum: int = 16
    tolerance: float = 3e-5
    seed: int = 0
    solves: int = 0
    vectors: Tensor | None = field(default=None, repr=False)

    def update(self, point: Point, preconditioner: Float[Tensor, " *p"]) -> Spectrum:
        """The tracked eigenpairs of the effective Hessian at a point, given diag(P) `[p]` or `[1]`."""
        scale = preconditioner.rsqrt()[:, None]

        def operator(vectors: Tensor) -> Tensor:
            return scale * point.hessian_product(scale * vectors)

        p = len(point.w)
        maximum = min(self.maximum, p)
        modes = min(self.minimum if self.vectors is None else self.vectors.shape[1] - 1, maximum)
        guess = point.w.new_empty(p, 0) if self.vectors is None else self._stirred()
        products = 0
        while True:
            block = min(modes + 1, p)
            guess = torch.cat([guess, self._noise(p, block - guess.shape[1], point.w)], dim=1)
            found = leading_eigenpairs(operator, guess, wanted=modes, tolerance=self.tolerance)
            products += found.products
            if modes == maximum or found.values[modes - 1] < self.threshold:
                break
            modes += 1
            guess = found.vectors
        vectors = found.vectors
        if self.vectors is not None:
            vectors = _aligned(vectors, self.vectors)
        # One mode below the threshold is enough; a margin keeps the count from flickering.
        below = int((found.values[:modes] > 0.95 * self.threshold).sum()) + 1
        modes = max(min(modes, below), min(self.minimum, maximum))
        self.vectors = vectors[:, : modes + 1]
        self.solves += 1
        return Spectrum(found.values[:modes], vectors[:, :modes], found.residuals[:modes], products)

    def _noise(self, p: int, columns: int, like: Tensor) -> Tensor:
        # Drawn on the CPU, so that every device starts from the same vectors.
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * self.solves + columns)
        return torch.randn(p, columns, generator=generator, dtype=torch.float64).to(like) / p**0.5

    def _stirred(self) -> Tensor:
        guess = self.vectors.clone()
        if guess.shape[1] > 1:
            guess[:, -1:] += 0.1 * self._noise(len(guess), 1, guess)
        return guess


def _aligned(vectors: Tensor, previous: Tensor) -> Tensor:
    """The same vectors with the signs that continue the previous ones, matched by largest overlap."""
    overlaps = previous.T @ vectors
    nearest = overlaps.gather(0, overlaps.abs().argmax(dim=0, keepdim=True))[0]
    return vectors * torch.where(nearest < 0, -1.0, 1.0).to(vectors.dtype)
