r"""The top of the spectrum of the effective Hessian, followed from step to step.

$P^{-1} H$ has the eigenvalues of the symmetric $P^{-1/2} H P^{-1/2}$; with orthonormal eigenvectors $V$ of the latter,
$U = P^{-1/2} V$ satisfies $H U = P U \Lambda$ and $U' P U = I$.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .derivatives import Point
from .errors import Diverged


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
    threshold: float = -torch.inf,
    iterations: int = 200,
) -> Spectrum:
    r"""The `b` leading eigenpairs by block LOBPCG, of which the first `wanted` must converge.

    Each iteration minimises over the span of the current vectors, their residuals and the previous change. Vectors that
    have converged send no residual, so a good guess costs `b` products and little more. Columns beyond `wanted`
    need not converge: they widen the gap, and they catch a mode that overtakes.

    Args:
        operator: a symmetric operator, applied to columns.
        guess: `[p, b]`, linearly independent columns; any scale.
        wanted: how many pairs must reach the tolerance.
        tolerance: on the residual relative to the largest eigenvalue; ten times as much for values below `threshold`.
            (The error of a value is of the order of its residual squared.)
        threshold: values from which on the tolerance counts in full.
        iterations: where to stop without convergence; the residuals returned tell.

    Raises:
        Diverged: the operator returns something that is not finite.

    Source: A. V. Knyazev, "Toward the optimal preconditioned eigensolver", SIAM J. Sci. Comput. 23 (2001), without
    preconditioner; soft locking as in Knyazev et al. (2007).
    """

    # Vectors are rows in here: contiguous, which makes the dense algebra several times faster than columns.
    def apply(rows: Tensor) -> Tensor:
        return operator(rows.T).T

    width = guess.shape[1]
    vectors = torch.linalg.qr(guess)[0].T.contiguous()
    images = apply(vectors)
    products = width
    vectors, images, values, change, change_images = _rayleigh_ritz(vectors, images, width)
    best, stalled, floor = torch.inf, 0, 1e3 * torch.finfo(values.dtype).eps
    for iteration in range(iterations):
        residual, norms = _residual(vectors, images, values)
        norms = torch.where(values < threshold, 0.1 * norms, norms)
        worst = norms[:wanted].max().item()
        # Rounding sets a floor under the residual: near it, few iterations without progress are allowed.
        stalled = 0 if worst < 0.9 * best else stalled + 1
        best = min(best, worst)
        # The columns beyond `wanted` get one iteration at least: without it they would not move once the others stand.
        done = worst <= tolerance and (iteration > 0 or wanted == width)
        if done or stalled >= (3 if worst < floor else 20):
            break
        if stalled and stalled % 3 == 0:
            # Images are carried along, not recomputed, and errors in them grow once the change is small: start afresh.
            vectors = torch.linalg.qr(vectors.T)[0].T.contiguous()
            vectors, images, values, change, change_images = _rayleigh_ritz(vectors, apply(vectors), width)
            products += width
            residual, norms = _residual(vectors, images, values)
            norms = torch.where(values < threshold, 0.1 * norms, norms)
        directions = _unit(residual[norms > tolerance])
        directions = _unit(directions - (directions @ vectors.T) @ vectors)
        products += len(directions)
        space = torch.cat([vectors, directions, change])
        space_images = torch.cat([images, apply(directions), change_images])
        vectors, images, values, change, change_images = _rayleigh_ritz(space, space_images, width)
    return Spectrum(values, vectors.T, _residual(vectors, images, values)[1], products)


def _residual(vectors: Tensor, images: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Residuals of eigenpairs, and their norms relative to the largest eigenvalue."""
    residual = images - values[:, None] * vectors
    return residual, residual.norm(dim=1) / values.abs().max().clamp_min(torch.finfo(values.dtype).tiny)


def _rayleigh_ritz(space: Tensor, images: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The best `width` vectors of a subspace, their images and values, and how they changed beyond the first rows.

    The change comes scaled to unit length, its images with it. The small matrices are float64; directions of the subspace
    that are dependent to rounding are dropped.
    """
    gram, form = (space @ space.T).double(), (space @ images.T).double()
    if not torch.isfinite(form).all():
        raise Diverged("the Hessian is not finite; try a smaller learning rate")
    scale, rotation = torch.linalg.eigh((gram + gram.T) / 2)
    keep = scale > scale[-1] * len(space) * 10 * torch.finfo(space.dtype).eps
    whiten = rotation[:, keep] / scale[keep].sqrt()
    values, mix = torch.linalg.eigh(whiten.T @ ((form + form.T) / 2) @ whiten)
    mix = (whiten @ mix.flip(1)[:, :width]).T.to(space.dtype)
    beyond = mix[:, width:]
    change, change_images = beyond @ space[width:], beyond @ images[width:]
    size = change.norm(dim=1, keepdim=True).clamp_min(torch.finfo(space.dtype).tiny)
    vectors, new_images = mix @ space, mix @ images
    # A change near rounding is noise, and its image, which is not recomputed, no longer belongs to it.
    moved = (
        size[:, 0] > 300 * torch.finfo(space.dtype).eps
        if len(space) > width
        else torch.zeros(width, dtype=torch.bool, device=space.device)
    )
    values = values.flip(0)[:width].to(space.dtype)
    return vectors, new_images, values, (change / size)[moved], (change_images / size)[moved]


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)


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
        tolerance: on the relative residual of the tracked modes; those below the threshold are followed less closely.
        seed: of the first guess and of the noise.
        solves, modes: number of solves so far, and of modes that the last one reported.
        vectors: eigenvectors of the last solve and the guard, `[p, m + 1]` (`[p, p]` where p modes are tracked). With
            `solves` and `modes` it is the whole state.
    """

    threshold: float = 1.5
    minimum: int = 1
    maximum: int = 16
    tolerance: float = 3e-5
    seed: int = 0
    solves: int = 0
    modes: int = 0
    vectors: Tensor | None = field(default=None, repr=False)

    def update(self, point: Point, preconditioner: Float[Tensor, " *p"]) -> Spectrum:
        """The tracked eigenpairs of the effective Hessian at a point, given diag(P) `[p]` or `[1]`."""
        scale = preconditioner.rsqrt()[:, None]

        def operator(vectors: Tensor) -> Tensor:
            return scale * point.hessian_product(scale * vectors)

        p = len(point.w)
        maximum = min(self.maximum, p)
        modes = min(max(self.modes, self.minimum), maximum)
        guess = point.w.new_empty(p, 0) if self.vectors is None else self._stirred()
        products = 0
        while True:
            block = min(modes + 1, p)
            guess = torch.cat([guess, self._noise(p, block - guess.shape[1], point.w)], dim=1)
            found = leading_eigenpairs(
                operator, guess, wanted=modes, tolerance=self.tolerance, threshold=min(self.threshold, 2.0)
            )
            products += found.products
            if found.values[modes - 1] < self.threshold:
                break
            if modes == maximum:
                if maximum < p:
                    message = f"more than {maximum} eigenvalues exceed {self.threshold:g}; the rest is not tracked"
                    warnings.warn(message, stacklevel=2)
                break
            modes += 1
            guess = found.vectors
        vectors = found.vectors
        if self.vectors is not None:
            vectors = _aligned(vectors, self.vectors)
        # One mode below the threshold is enough; a margin keeps the count from flickering.
        below = int((found.values[:modes] > 0.95 * self.threshold).sum()) + 1
        modes = self.modes = max(min(modes, below), min(self.minimum, maximum))
        self.vectors = vectors[:, : modes + 1]
        self.solves += 1
        worst = found.residuals[:modes].max().item()
        if worst > 30 * self.tolerance:
            # Without the number, which the records hold, the same warning is shown once and not at every step.
            cure = "; use dtype float64" if point.w.dtype == torch.float32 else ""
            warnings.warn(f"eigenpairs do not reach the tolerance {self.tolerance:g}{cure}", stacklevel=2)
        return Spectrum(found.values[:modes], vectors[:, :modes], found.residuals[:modes], products)

    def _noise(self, p: int, columns: int, like: Tensor) -> Tensor:
        # Drawn on the CPU, so that every device starts from the same vectors.
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * self.solves + columns)
        return torch.randn(p, columns, generator=generator, dtype=torch.float64).to(like) / p**0.5

    def _stirred(self) -> Tensor:
        guess = self.vectors.clone()
        if guess.shape[1] > self.modes:
            guess[:, -1:] += 0.1 * self._noise(len(guess), 1, guess)
        return guess


def _aligned(vectors: Tensor, previous: Tensor) -> Tensor:
    """The same vectors with the signs that continue the previous ones, matched by largest overlap."""
    overlaps = previous.T @ vectors
    nearest = overlaps.gather(0, overlaps.abs().argmax(dim=0, keepdim=True))[0]
    return vectors * torch.where(nearest < 0, -1.0, 1.0).to(vectors.dtype)
