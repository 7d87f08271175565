r"""The top of the spectrum of the effective Hessian, followed from step to step.

$P^{-1} H$ has the eigenvalues of the symmetric $P^{-1/2} H P^{-1/2}$; with orthonormal eigenvectors $V$ of the latter,
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
    """What a tracker goes on from: as its attributes of these names."""

    solves: int
    modes: int
    vectors: Tensor | None
    previous: Tensor | None


@dataclass
class EigenTracker:
    """Follows all eigenvalues of the effective Hessian above a threshold, and at least one below it.

    Eigenvectors are extrapolated from the last two solves, each taken a power step further, so that along a smooth
    trajectory one product for each is usually enough. At every `guarded`-th solve the block carries one guard vector more
    than the modes reported, with a little seeded noise, and is iterated on twice at least, so that a mode without any
    coupling to the block, which a warm-started solver would never see, is found within a few steps after it rises.

    Attributes:
        threshold: modes above it are tracked; the count grows until the smallest tracked one is below. Infinity keeps
            the count at `minimum`.
        minimum, maximum: bounds on the number of modes.
        tolerance: on the relative residual of the tracked modes.
        exact_from: values from which on the tolerance counts in full. Ten times as much is enough for smaller ones, which act
            on nothing yet, and whose error is of the order of the residual squared.
        seed: of the first guess and of the noise.
        guarded: solves from one with the guard to the next.
        solves, modes: number of solves so far, and of modes that the last one reported.
        vectors: those of the last solve, a power step further, and the guard, `[p, m + 1]` (`[p, p]` where p modes are
            tracked).
        workspace: memory of the solver.
        previous: those of the solve before.
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
        """The tracked eigenpairs of the effective Hessian at a point, given diag(P) `[p]` or `[1]`."""
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
            for i in _turned_round(vectors, self.vectors):
                vectors[:, i].neg_()
                images[:, i].neg_()
        # One mode below the threshold is enough; a margin keeps the count from flickering.
        below = int((found.values[:modes] > 0.95 * self.threshold).sum()) + 1
        least = min(self.minimum, self.maximum, len(vectors))
        modes = max(min(modes, below), least)
        self.previous = None if self.vectors is None else self.vectors[:, : self.modes]
        self.modes = modes
        guard = _beside(vectors[:, modes : modes + 1], spare[:, : max(0, modes + 1 - vectors.shape[1])])
        self.vectors = _beside(_one_step_ahead(found, modes), guard)
        self.solves += 1
        if found.residuals[:modes].max().item() > 30 * self.tolerance:
            # Without the number, which the records hold, the same warning is shown once and not at every step.
            cure = "; use dtype float64" if dtype == torch.float32 else ""
            warnings.warn(f"eigenpairs do not reach the tolerance {self.tolerance:g}{cure}", stacklevel=3)
        return Spectrum(found.values[:modes], vectors[:, :modes], found.residuals[:modes], products, images[:, :modes])

    def _noise(self, p: int, columns: int, modes: int, like: Tensor) -> Tensor:
        # Drawn on the CPU, so that every device starts from the same vectors; other ones for every number of modes that is
        # looked for, as an eigenvalue of multiplicity m shows itself to m independent vectors only.
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * self.solves + 1009 * modes + columns)
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
                turn = (left @ right).T.to(before)
                modes = torch.addmm(modes.T, turn, before.T, beta=2, alpha=-1).T
        return modes, guard


def _beside(left: Float[Tensor, "p a"], right: Float[Tensor, "p b"]) -> Float[Tensor, "p c"]:
    """Both as one, stored as rows."""
    return torch.cat([left.T, right.T]).T if right.shape[1] else left


def _one_step_ahead(found: Spectrum, modes: int) -> Float[Tensor, "p m"]:
    """The leading vectors a power step further, which costs nothing where their images are known: of a residual among values
    near zero little is left, and what was extrapolated from it would be twice as large. For a value far below the largest
    the step is shorter, as it would raise what lies above."""
    values = found.values[:modes]
    lengths = 1 / values.clamp_min(found.values.abs().max().clamp_min(torch.finfo(found.vectors.dtype).tiny) / 2)
    vectors, images = found.vectors.T[:modes], found.images.T[:modes]
    kept, added = (1 - lengths * values)[:, None].to(vectors), lengths[:, None].to(vectors)
    return torch.addcmul(kept * vectors, added, images).T


def _turned_round(vectors: Float[Tensor, "p b"], previous: Float[Tensor, "p a"]) -> list[int]:
    """Which vectors have the sign opposite to that of the previous ones, matched by largest overlap."""
    overlaps = (previous.T @ vectors).cpu().numpy()
    nearest = overlaps[np.abs(overlaps).argmax(axis=0), np.arange(overlaps.shape[1])]
    return np.flatnonzero(nearest < 0).tolist()
