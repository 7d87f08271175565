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
        values: eigenvalues `[m]`, in float64 on the host.
        vectors: orthonormal eigenvectors `[p, m]`.
        residuals: |A v - lambda v| / |lambda_1|, `[m]`, likewise.
        products: how many operator-vector products were spent.
        images: A v `[p, m]`, to rounding.
    """

    values: Float[Tensor, " m"]
    vectors: Float[Tensor, "p m"]
    residuals: Float[Tensor, " m"]
    products: int
    images: Float[Tensor, "p m"]


def leading_eigenpairs(
    operator: Callable[[Float[Tensor, "p m"]], Float[Tensor, "p m"]],
    guess: Float[Tensor, "p b"],
    *,
    wanted: int,
    tolerance: float,
    threshold: float = -torch.inf,
    least: int = 0,
    iterations: int = 200,
    workspace: Tensor | None = None,
) -> Spectrum:
    r"""The `b` leading eigenpairs by a block Davidson iteration, of which the first `wanted` must converge.

    Each iteration finds the best vectors in the span of the guess and of all residuals so far. Vectors that have converged
    send no residual, so a good guess costs `b` products and little more. Columns beyond `wanted` need not converge:
    they widen the gap, and they catch a mode that overtakes.

    Args:
        operator: a symmetric operator, applied to columns.
        guess: `[p, b]`, linearly independent columns; any scale.
        wanted: how many pairs must reach the tolerance.
        tolerance: on the residual relative to the largest eigenvalue; ten times as much for values below `threshold`.
            (The error of a value is of the order of its residual squared.)
        threshold: values from which on the tolerance counts in full.
        least: iterations that are made in any case; the columns beyond `wanted` move in them even if all others stand.
        iterations: where to stop without convergence; the residuals returned tell.
        workspace: memory to work in, `[8 b, p]` or more rows. Asking the system for it anew costs as much as the algebra.

    Raises:
        Diverged: the operator returns something that is not finite.

    Source: E. R. Davidson, J. Comput. Phys. 17 (1975), in blocks and without preconditioner, which makes it a block
    Lanczos iteration that keeps its vectors; thick restarts after A. Stathopoulos, Y. Saad, K. Wu, "Dynamic thick
    restarting of the Davidson, and the implicitly restarted Arnoldi methods", SIAM J. Sci. Comput. 19 (1998).
    """
    space = _Space(operator, guess, workspace)
    # Rounding sets a floor under the residual: near it, few iterations without progress are allowed.
    best, stalled, floor = torch.inf, 0, 1e3 * torch.finfo(guess.dtype).eps
    for iteration in range(iterations):
        residual, norms = space.residuals()
        loose = torch.where(space.values < threshold, 0.1 * norms, norms)
        worst = loose[:wanted].max().item()
        stalled = 0 if worst < 0.9 * best else stalled + 1
        best = min(best, worst)
        if (worst <= tolerance and iteration >= least) or stalled >= (3 if worst < floor else 20):
            break
        if stalled and stalled % 3 == 0:
            space.restart(fresh=True)
        else:
            space.extend(_unit(residual[loose > tolerance]))
    vectors, images = space.ritz()
    return Spectrum(space.values, vectors.T, norms, space.products, images.T)


class _Space:
    """A growing subspace with the images of its vectors, and the best approximations to eigenpairs in it.

    Vectors and images are the even and odd rows of one buffer: contiguous rows make the dense algebra several times faster
    than columns, and both take part in one matrix product. The small matrices are float64 and on the host, where their
    algebra costs an accelerator's queue one wait per iteration and no small kernels.
    """

    def __init__(self, operator: Callable[[Tensor], Tensor], guess: Float[Tensor, "p b"], workspace: Tensor | None):
        p, self.width = guess.shape
        self.operator, self.products = operator, 0
        self.capacity = 4 * self.width
        self.buffer = guess.new_empty(2 * self.capacity, p) if workspace is None else workspace
        self._begin(guess.T)

    def _begin(self, rows: Tensor) -> None:
        self.size = 0
        self.gram = self.form = torch.zeros(0, 0, dtype=torch.float64)
        self.extend(_orthonormal(rows))

    def extend(self, rows: Float[Tensor, "d p"], images: Float[Tensor, "d p"] | None = None) -> None:
        """Add vectors, applying the operator to them unless their images are known."""
        if self.size + len(rows) > self.capacity:
            self.restart()
        old, new = self.size, self.size + len(rows)
        if images is None:
            images = self.operator(rows.T).T
            self.products += len(rows)
        self.buffer[2 * old : 2 * new : 2], self.buffer[2 * old + 1 : 2 * new : 2] = rows, images
        overlaps = (rows @ self.buffer[: 2 * new].T).double().cpu()
        self.gram, self.form = _bordered(self.gram, overlaps[:, 0::2]), _bordered(self.form, overlaps[:, 1::2])
        self.size = new
        self._solve()

    def _solve(self) -> None:
        """Rayleigh-Ritz; directions of the subspace that are dependent to rounding are dropped."""
        if not torch.isfinite(self.form).all():
            raise Diverged("the Hessian is not finite; try a smaller learning rate")
        scale, rotation = torch.linalg.eigh(self.gram)
        keep = scale > scale[-1] * self.size * 10 * torch.finfo(self.buffer.dtype).eps
        whiten = rotation[:, keep] / scale[keep].sqrt()
        values, mix = torch.linalg.eigh(whiten.T @ self.form @ whiten)
        self.mix = (whiten @ mix.flip(1)).T
        self.values = values.flip(0)[: self.width]

    def ritz(self, count: int | None = None) -> tuple[Float[Tensor, "b p"], Float[Tensor, "b p"]]:
        """The best vectors and their images."""
        mix = self.mix[: count or self.width].to(self.buffer)
        rows = self.buffer[: 2 * self.size]
        return mix @ rows[0::2], mix @ rows[1::2]

    def residuals(self) -> tuple[Float[Tensor, "b p"], Float[Tensor, " b"]]:
        """A v - lambda v for each pair, and their norms relative to the largest eigenvalue."""
        mix = self.mix[: self.width]
        both = torch.stack([-self.values[:, None] * mix, mix], dim=2).flatten(1)
        residual = both.to(self.buffer) @ self.buffer[: 2 * self.size]
        tiny = torch.finfo(residual.dtype).tiny
        return residual, residual.norm(dim=1).double().cpu() / self.values.abs().max().clamp_min(tiny)

    def restart(self, *, fresh: bool = False) -> None:
        """Keep the best vectors only: twice the width, or where they are `fresh`, the width, with images applied anew."""
        vectors, images = self.ritz(self.width if fresh else 2 * self.width)
        if fresh:
            self._begin(vectors)
        else:
            self.size, self.gram, self.form = 0, self.gram[:0, :0], self.form[:0, :0]
            self.extend(vectors, images)


def _bordered(matrix: Float[Tensor, "r r"], rows: Float[Tensor, "d s"]) -> Float[Tensor, "s s"]:
    """The symmetric matrix with further rows below, s = r + d long."""
    r = len(matrix)
    corner = (rows[:, r:] + rows[:, r:].T) / 2
    upper, lower = torch.cat([matrix, rows[:, :r].T], dim=1), torch.cat([rows[:, :r], corner], dim=1)
    return torch.cat([upper, lower])


def _orthonormal(rows: Float[Tensor, "d p"]) -> Float[Tensor, "d p"]:
    """An orthonormal basis of the span of some rows: themselves, turned as little as possible, where they nearly are one."""
    gram = (rows @ rows.T).double().cpu()
    scale, rotation = torch.linalg.eigh((gram + gram.T) / 2)
    if len(rows) and scale[0] > 0.5 * scale[-1]:
        return (rotation @ (rotation / scale.sqrt()).T).to(rows) @ rows
    return torch.linalg.qr(rows.T)[0].T


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)


class Tracked(NamedTuple):
    """What a tracker goes on from: as its attributes of these names."""

    solves: int
    modes: int
    vectors: Tensor | None
    previous: Tensor | None


@dataclass
class Tracker:
    """Follows all eigenvalues of the effective Hessian above a threshold, and at least one below it.

    Eigenvectors are extrapolated from the last two solves, so that along a smooth trajectory one product for each is
    usually enough. At every `guarded`-th solve the block carries one guard vector more than the modes reported, with a
    little seeded noise, and is iterated on twice at least, so that a mode without any coupling to the block, which a
    warm-started solver would never see, is found within a few steps after it rises.

    Attributes:
        threshold: modes above it are tracked; the count grows until the smallest tracked one is below. Infinity keeps
            the count at `minimum`.
        minimum, maximum: bounds on the number of modes.
        tolerance: on the relative residual of the tracked modes; those below the threshold are followed less closely.
        seed: of the first guess and of the noise.
        guarded: solves from one with the guard to the next.
        solves, modes: number of solves so far, and of modes that the last one reported.
        vectors: eigenvectors of the last solve and the guard, `[p, m + 1]` (`[p, p]` where p modes are tracked).
        workspace: memory of the solver.
        previous: eigenvectors of the solve before.
    """

    threshold: float = 1.5
    minimum: int = 1
    maximum: int = 16
    tolerance: float = 8e-5
    seed: int = 0
    guarded: int = 4
    solves: int = 0
    modes: int = 0
    vectors: Tensor | None = field(default=None, repr=False)
    previous: Tensor | None = field(default=None, repr=False)
    workspace: Tensor | None = field(default=None, repr=False, compare=False)

    @property
    def position(self) -> Tracked:
        return Tracked(self.solves, self.modes, self.vectors, self.previous)

    def resume(self, position: Tracked) -> None:
        self.solves, self.modes, self.vectors, self.previous = position

    def update(self, point: Point, preconditioner: Float[Tensor, " *p"]) -> Spectrum:
        """The tracked eigenpairs of the effective Hessian at a point, given diag(P) `[p]` or `[1]`."""
        scale = preconditioner.rsqrt()[:, None]

        def operator(vectors: Tensor) -> Tensor:
            return scale * point.hessian_product(scale * vectors)

        p = len(point.w)
        maximum = min(self.maximum, p)
        modes = min(max(self.modes, self.minimum), maximum)
        guard = int(self.vectors is None or self.solves % self.guarded == 0)
        guess, spare = self._guess(point.w)
        if guard and spare.shape[1]:
            spare = spare + 0.1 * self._noise(p, 1, point.w)
        products = 0
        while True:
            block = min(modes + guard, p)
            guess = _beside(guess, spare)[:, :block]
            guess = _beside(guess, self._noise(p, block - guess.shape[1], point.w))
            if self.workspace is None or len(self.workspace) < 8 * block:
                self.workspace = guess.new_empty(8 * block, p)
            found = leading_eigenpairs(
                operator,
                guess,
                wanted=modes,
                tolerance=self.tolerance,
                threshold=min(self.threshold, 2.0),
                least=2 * (block > modes),
                workspace=self.workspace,
            )
            products += found.products
            if found.values[modes - 1] < self.threshold:
                break
            if modes == maximum:
                if maximum < p:
                    message = f"more than {maximum} eigenvalues exceed {self.threshold:g}; the rest is not tracked"
                    warnings.warn(message, stacklevel=2)
                break
            modes, guard = modes + 1, 1
            guess = found.vectors
        return self._kept(found, modes, products, spare, point.w.dtype)

    def _kept(self, found: Spectrum, modes: int, products: int, spare: Tensor, dtype: torch.dtype) -> Spectrum:
        """Remember what the next solve needs of this one, and report it."""
        vectors, images = found.vectors, found.images
        if self.vectors is not None:
            signs = _continuing(vectors, self.vectors)
            vectors, images = vectors * signs, images * signs
        # One mode below the threshold is enough; a margin keeps the count from flickering.
        below = int((found.values[:modes] > 0.95 * self.threshold).sum()) + 1
        least = min(self.minimum, self.maximum, len(vectors))
        modes = max(min(modes, below), least)
        self.previous = None if self.vectors is None else self.vectors[:, : self.modes]
        self.modes = modes
        self.vectors = _beside(vectors, spare)[:, : modes + 1]
        self.solves += 1
        if found.residuals[:modes].max().item() > 30 * self.tolerance:
            # Without the number, which the records hold, the same warning is shown once and not at every step.
            cure = "; use dtype float64" if dtype == torch.float32 else ""
            warnings.warn(f"eigenpairs do not reach the tolerance {self.tolerance:g}{cure}", stacklevel=3)
        return Spectrum(found.values[:modes], vectors[:, :modes], found.residuals[:modes], products, images[:, :modes])

    def _noise(self, p: int, columns: int, like: Tensor) -> Tensor:
        # Drawn on the CPU, so that every device starts from the same vectors.
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * self.solves + columns)
        return torch.randn(p, columns, generator=generator, dtype=torch.float64).to(like) / p**0.5

    def _guess(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """The modes expected now, and the guard (no column where there is none)."""
        if self.vectors is None:
            return w.new_empty(len(w), 0), w.new_empty(len(w), 0)
        modes, guard = self.vectors[:, : self.modes], self.vectors[:, self.modes :]
        before = self.previous
        if before is not None and before.shape == modes.shape:
            # Within a cluster of values the vectors are arbitrary: those before are turned to the present ones first.
            left, overlaps, right = torch.linalg.svd((before.T @ modes).double().cpu())
            if overlaps[-1] > 0.7:
                modes = 2 * modes - ((left @ right).T.to(before) @ before.T).T
        return modes, guard


def _beside(left: Float[Tensor, "p a"], right: Float[Tensor, "p b"]) -> Float[Tensor, "p c"]:
    """Both as one, stored as rows."""
    return torch.cat([left.T, right.T]).T


def _continuing(vectors: Tensor, previous: Tensor) -> Tensor:
    """The signs with which vectors continue the previous ones, matched by largest overlap."""
    overlaps = previous.T @ vectors
    nearest = overlaps.gather(0, overlaps.abs().argmax(dim=0, keepdim=True))[0]
    return torch.where(nearest < 0, -1.0, 1.0).to(vectors.dtype)
