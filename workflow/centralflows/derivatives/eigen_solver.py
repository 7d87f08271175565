"""A block eigen-solver for the leading eigenpairs of a symmetric operator, which is fast from a good initial guess."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy import ndarray
from torch import Tensor

from ..common.errors import Diverged


class Spectrum(NamedTuple):
    """The leading eigenpairs of a symmetric operator, largest first.

    Attributes:
        values: eigenvalues `[m]`, in float64 on the host.
        vectors: orthonormal eigenvectors `[p, m]`.
        residuals: |A v - lambda v| / |lambda_1|, `[m]`, in float64 on the host.
        products: number of operator-vector products that the solve took.
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
    factor: Float[Tensor, " *p"] | None = None,
    *,
    wanted: int,
    tolerance: float,
    threshold: float = -torch.inf,
    least: int = 0,
    iterations: int = 200,
    workspace: Tensor | None = None,
) -> Spectrum:
    """Return the `b` leading eigenpairs, found by a block Davidson iteration; the first `wanted` must converge.

    Each iteration finds the best vectors in the span of the guess and of all residuals so far. Converged vectors
    contribute no residual, so a good guess needs little more than `b` products. Columns beyond `wanted` need not
    converge: they widen the gap, and they detect a mode that overtakes.

    Args:
        operator: applied to columns; times `factor`, it is symmetric.
        guess: `[p, b]`, linearly independent columns; any scale.
        factor: one number, or one for each row of the operator's result `[p]`; 1 by default.
        wanted: number of pairs that must reach the tolerance.
        tolerance: on the residual relative to the largest eigenvalue; ten times as much for values below `threshold`.
            (The error of a value is of the order of its residual squared.)
        threshold: smallest value to which the full tolerance applies.
        least: smallest number of iterations; they also improve the columns beyond `wanted` after all others have
            converged.
        iterations: largest number of iterations; the returned residuals show whether the solver converged.
        workspace: memory to work in, `[8 b, p]` or more rows. Allocating it anew costs as much as the algebra.

    Raises:
        Diverged: the operator returns a value that is not finite.

    Source: E. R. Davidson, J. Comput. Phys. 17 (1975), in blocks and without preconditioner, which makes it a block
    Lanczos iteration that keeps its vectors; thick restarts after A. Stathopoulos, Y. Saad, K. Wu, "Dynamic thick
    restarting of the Davidson, and the implicitly restarted Arnoldi methods", SIAM J. Sci. Comput. 19 (1998).
    """
    space = _Space(operator, guess, factor, workspace)
    # Rounding limits the residual from below: near that floor, few iterations without progress are allowed.
    best, stalled, floor = np.inf, 0, 1e3 * torch.finfo(guess.dtype).eps
    for iteration in range(iterations):
        residual, norms = space.residuals()
        loose = np.where(space.values < threshold, 0.1 * norms, norms)
        worst = loose[:wanted].max()
        stalled = 0 if worst < 0.9 * best else stalled + 1
        best = min(best, worst)
        if (worst <= tolerance and iteration >= least) or stalled >= (3 if worst < floor else 40):
            break
        if stalled and stalled % 20 == 0:  # more frequent restarts would keep a cluster from converging
            space.restart(fresh=True)
        else:
            space.extend(_unit(residual, norms, np.flatnonzero(loose > tolerance)))
    vectors, images = space.ritz()
    return Spectrum(torch.from_numpy(space.values), vectors.T, torch.from_numpy(norms), space.products, images.T)


class _Space:
    """A growing subspace with the images of its vectors, and the best approximations to eigenpairs in it.

    Vectors and images are the even and odd rows of one buffer. Contiguous rows make the dense algebra several times
    faster than columns, and one matrix product can use both. The small matrices are numpy arrays in float64 on the
    host. Their algebra there costs an accelerator's queue one wait per iteration and no small kernels.
    """

    def __init__(
        self,
        operator: Callable[[Tensor], Tensor],
        guess: Float[Tensor, "p b"],
        factor: Float[Tensor, " *p"] | None,
        workspace: Tensor | None,
    ):
        p, self.width = guess.shape
        self.operator, self.products = operator, 0
        self.factor = guess.new_ones(1) if factor is None else factor
        self.capacity = 4 * self.width
        self.buffer = guess.new_empty(2 * self.capacity, p) if workspace is None else workspace
        self._begin(guess.T)

    def _begin(self, rows: Tensor) -> None:
        self.size = 0
        self.gram = self.form = np.zeros((0, 0))
        self.extend(_conditioned(rows))

    def extend(self, rows: Float[Tensor, "d p"], images: Float[Tensor, "d p"] | None = None) -> None:
        """Add vectors, and apply the operator to them unless their images are given."""
        if self.size + len(rows) > self.capacity:
            self.restart()
        old, new = self.size, self.size + len(rows)
        added = self.buffer[2 * old : 2 * new]
        added[0::2] = rows
        if images is None:
            torch.mul(self.operator(rows.T).T, self.factor, out=added[1::2])
            self.products += len(rows)
        else:
            added[1::2] = images
        overlaps = (added @ self.buffer[0 : 2 * new : 2].T).double().cpu().numpy()
        self.gram, self.form = _bordered(self.gram, overlaps[0::2]), _bordered(self.form, overlaps[1::2])
        self.size = new
        self._solve()

    def _solve(self) -> None:
        """Update the Ritz values and vectors (Rayleigh-Ritz), without directions that are dependent to rounding."""
        if not np.isfinite(self.form).all():
            raise Diverged("the Hessian is not finite; try a smaller learning rate")
        scale, rotation = np.linalg.eigh(self.gram)
        keep = scale > scale[-1] * self.size * 10 * torch.finfo(self.buffer.dtype).eps
        whiten = rotation[:, keep] / np.sqrt(scale[keep])
        values, mix = np.linalg.eigh(whiten.T @ self.form @ whiten)
        self.mix = (whiten @ mix[:, ::-1]).T
        self.values = values[::-1][: self.width].copy()

    def ritz(self, count: int | None = None) -> tuple[Float[Tensor, "b p"], Float[Tensor, "b p"]]:
        """Return the Ritz vectors and their images."""
        mix = self._like(self.mix[: count or self.width])
        rows = self.buffer[: 2 * self.size]
        return mix @ rows[0::2], mix @ rows[1::2]

    def residuals(self) -> tuple[Float[Tensor, "b p"], Float[ndarray, " b"]]:
        """Return A v - lambda v for each pair, and their norms relative to the largest eigenvalue."""
        mix = self.mix[: self.width]
        largest = max(np.abs(self.values).max(), torch.finfo(self.buffer.dtype).tiny)
        both = np.stack([-self.values[:, None] * mix, mix], axis=2).reshape(len(mix), -1) / largest
        residual = self._like(both) @ self.buffer[: 2 * self.size]
        return residual, torch.linalg.vector_norm(residual, dim=1).double().cpu().numpy()

    def _like(self, matrix: Float[ndarray, "a b"]) -> Float[Tensor, "a b"]:
        return torch.from_numpy(np.ascontiguousarray(matrix)).to(self.buffer)

    def restart(self, *, fresh: bool = False) -> None:
        """Keep only the best vectors: twice the width, or the width with newly computed images if `fresh`."""
        vectors, images = self.ritz(self.width if fresh else 2 * self.width)
        if fresh:
            self._begin(vectors)
        else:
            self.size, self.gram, self.form = 0, self.gram[:0, :0], self.form[:0, :0]
            self.extend(vectors, images)


def _bordered(matrix: Float[ndarray, "r r"], rows: Float[ndarray, "d s"]) -> Float[ndarray, "s s"]:
    """Return the symmetric matrix extended by further rows, of size s = r + d."""
    r, s = len(matrix), rows.shape[1]
    whole = np.empty((s, s))
    whole[:r, :r], whole[r:], whole[:r, r:] = matrix, rows, rows[:, :r].T
    whole[r:, r:] = (rows[:, r:] + rows[:, r:].T) / 2
    return whole


def _conditioned(rows: Float[Tensor, "d p"]) -> Float[Tensor, "d p"]:
    """Return a nearly orthonormal basis of the span of some rows; the rows themselves if they already are one."""
    scale = np.linalg.eigvalsh((rows @ rows.T).double().cpu().numpy())
    return rows if len(rows) and 0.5 < scale[0] <= scale[-1] < 2 else torch.linalg.qr(rows.T)[0].T


def _unit(
    rows: Float[Tensor, "b p"], norms: Float[ndarray, " b"], chosen: Int64[ndarray, " d"]
) -> Float[Tensor, "d p"]:
    """Return the chosen rows divided by their norms, in place if all rows are chosen."""
    rows = rows if len(chosen) == len(rows) else rows[torch.from_numpy(chosen).to(rows.device)]
    scale = np.maximum(norms[chosen, None], torch.finfo(rows.dtype).tiny)
    return rows.div_(torch.from_numpy(scale).to(rows))
