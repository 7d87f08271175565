r"""The eigen-tracker, which follows the leading eigenpairs of the effective Hessian from step to step.

$P^{-1} H$ has the eigenvalues of the symmetric $P^{-1/2} H P^{-1/2}$. With orthonormal eigenvectors $V$ of the latter,
$U = P^{-1/2} V$ satisfies $H U = P U \Lambda$ and $U' P U = I$.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .eigen_solver import Spectrum, leading_eigenpairs
from .point import Point


class EigenTrackerState(NamedTuple):
    """The resume state of an eigen-tracker: its attributes of the same names."""

    solves: int
    modes: int
    vectors: Tensor | None
    previous: Tensor | None


@dataclass
class EigenTracker:
    """A tracker of all eigenvalues of the effective Hessian above a threshold, and of at least one below it.

    Each solve advances its eigenvectors by a power step, and the next guess extrapolates them from the last two solves.
    Along a smooth trajectory one product for each vector is then usually enough. At every `guarded`-th solve the block
    has one guard vector more than the reported modes, with a little seeded noise, and takes at least two iterations. A
    warm-started solver would never find a mode without any coupling to the block; the guard finds it within a few steps
    after it rises.

    Attributes:
        threshold: modes above it are tracked; their number grows until the smallest tracked one is below. Infinity
            keeps the number at `minimum`.
        minimum, maximum: bounds on the number of modes.
        tolerance: on the relative residual of the tracked modes.
        exact_from: smallest value to which the full tolerance applies. Ten times as much is enough for smaller values:
            they have no effect yet, and their error is of the order of the residual squared.
        seed: of the initial guess and of the noise.
        guarded: solves from one solve with the guard to the next.
        solves, modes: number of solves so far, and number of modes that the last one reported.
        vectors: eigenvectors of the last solve, advanced by a power step, and the guard, `[p, m + 1]` (`[p, p]` if p
            modes are tracked).
        workspace: memory of the solver.
        previous: eigenvectors of the solve before the last, advanced likewise.
    """

    threshold: float = 1.5
    minimum: int = 1
    maximum: int = 16
    tolerance: float = 8e-5
    exact_from: float = 1.5
    seed: int = 0
    guarded: int = 8
    solves: int = 0
    modes: int = 0
    vectors: Tensor | None = field(default=None, repr=False)
    previous: Tensor | None = field(default=None, repr=False)
    workspace: Tensor | None = field(default=None, repr=False, compare=False)

    @property
    def resume_state(self) -> EigenTrackerState:
        return EigenTrackerState(self.solves, self.modes, self.vectors, self.previous)

    def resume(self, resume_state: EigenTrackerState) -> None:
        self.solves, self.modes, self.vectors, self.previous = resume_state

    def update(self, point: Point, preconditioner: Float[Tensor, " *p"]) -> Spectrum:
        """Return the tracked eigenpairs of the effective Hessian at a point, given diag(P) `[p]` or `[1]`."""
        scale = preconditioner.rsqrt()
        if len(scale) == 1:
            operator, factor = point.hessian_product, scale.square()
        else:
            operator, factor = (lambda vectors: point.hessian_product(scale[:, None] * vectors)), scale
        p = len(point.w)
        maximum = min(self.maximum, p)
        modes = min(max(self.modes, self.minimum), maximum)
        guard = int(self.vectors is None or self.solves % self.guarded == 0)
        guess, spare = self._guess(point.w)
        if guard and spare.shape[1]:
            spare = spare + 0.1 * self._noise(p, 1, modes, point.w)
        products = 0
        while True:
            block = min(modes + guard, p)
            guess = _beside(guess, spare[:, : block - guess.shape[1]])
            guess = _beside(guess, self._noise(p, block - guess.shape[1], modes, point.w))
            if self.workspace is None or len(self.workspace) < 8 * block:
                self.workspace = guess.new_empty(8 * block, p)
            found = leading_eigenpairs(
                operator,
                guess,
                factor,
                wanted=modes,
                tolerance=self.tolerance,
                threshold=self.exact_from,
                least=2 * (block > modes),
                workspace=self.workspace,
            )
            products += found.products
            if found.values[modes - 1] < self.threshold:
                break
            if modes == maximum:
                if maximum < p:
                    message = (
                        f"more than {maximum} eigenvalues exceed {self.threshold:g}; the rest is not tracked "
                        "(SpectrumConfig(maximum=...), in a configuration spectrum.maximum, allows up to 64)"
                    )
                    warnings.warn(message, stacklevel=2)
                break
            modes, guard = modes + 1, 1
            guess = found.vectors
        return self._kept(found, modes, products, spare, point.w.dtype)

    def _kept(self, found: Spectrum, modes: int, products: int, spare: Tensor, dtype: torch.dtype) -> Spectrum:
        """Return the reported spectrum of a solve, and store what the next solve needs."""
        vectors, images = found.vectors, found.images
        if self.vectors is not None:
            for i in _turned_round(vectors, self.vectors):
                vectors[:, i].neg_()
                images[:, i].neg_()
        # One mode below the threshold is enough. A margin keeps their number from flickering.
        below = int((found.values[:modes] > 0.95 * self.threshold).sum()) + 1
        least = min(self.minimum, self.maximum, len(vectors))
        modes = max(min(modes, below), least)
        self.previous = None if self.vectors is None else self.vectors[:, : self.modes]
        self.modes = modes
        guard = _beside(vectors[:, modes : modes + 1], spare[:, : max(0, modes + 1 - vectors.shape[1])])
        self.vectors = _beside(_one_step_ahead(found, modes), guard)
        self.solves += 1
        if found.residuals[:modes].max().item() > 30 * self.tolerance:
            # A message without the residual, which the records hold, is shown once and not at every step.
            cure = "; use dtype float64" if dtype == torch.float32 else ""
            warnings.warn(f"eigenpairs do not reach the tolerance {self.tolerance:g}{cure}", stacklevel=3)
        return Spectrum(found.values[:modes], vectors[:, :modes], found.residuals[:modes], products, images[:, :modes])

    def _noise(self, p: int, columns: int, modes: int, like: Tensor) -> Tensor:
        # Drawn on the CPU, so that every device starts from the same vectors. The number of modes changes the seed,
        # because m independent vectors are needed to find an eigenvalue of multiplicity m.
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * self.solves + 1009 * modes + columns)
        return torch.randn(p, columns, generator=generator, dtype=torch.float64).to(like) / p**0.5

    def _guess(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Return the modes expected now, and the guard (no column if there is none)."""
        if self.vectors is None:
            return w.new_empty(len(w), 0), w.new_empty(len(w), 0)
        modes, guard = self.vectors[:, : self.modes], self.vectors[:, self.modes :]
        before = self.previous
        if before is not None and before.shape == modes.shape:
            # Within a cluster of values the vectors are arbitrary, so the earlier ones are first rotated to the present
            # ones.
            left, overlaps, right = torch.linalg.svd((before.T @ modes).double().cpu())
            if overlaps[-1] > 0.7:
                turn = (left @ right).T.to(before)
                modes = torch.addmm(modes.T, turn, before.T, beta=2, alpha=-1).T
        return modes, guard


def _beside(left: Float[Tensor, "p a"], right: Float[Tensor, "p b"]) -> Float[Tensor, "p c"]:
    """Return both matrices side by side as one, stored as rows."""
    return torch.cat([left.T, right.T]).T if right.shape[1] else left


def _one_step_ahead(found: Spectrum, modes: int) -> Float[Tensor, "p m"]:
    """Return the leading vectors advanced by a power step, which costs nothing as their images are known.

    The step shrinks the residual in directions with values near zero, which extrapolation would double. It is shorter
    for values far below the largest, because a full step would raise the components above them.
    """
    values = found.values[:modes]
    lengths = 1 / values.clamp_min(found.values.abs().max().clamp_min(torch.finfo(found.vectors.dtype).tiny) / 2)
    vectors, images = found.vectors.T[:modes], found.images.T[:modes]
    kept, added = (1 - lengths * values)[:, None].to(vectors), lengths[:, None].to(vectors)
    return torch.addcmul(kept * vectors, added, images).T


def _turned_round(vectors: Float[Tensor, "p b"], previous: Float[Tensor, "p a"]) -> list[int]:
    """Return the indices of vectors whose sign is opposite to that of the previous ones, matched by largest overlap."""
    overlaps = (previous.T @ vectors).cpu().numpy()
    nearest = overlaps[np.abs(overlaps).argmax(axis=0), np.arange(overlaps.shape[1])]
    return np.flatnonzero(nearest < 0).tolist()
