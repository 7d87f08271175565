"""Eigenvectors that keep their identity and their sign from one step to the next, also where eigenvalues cross."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

SAME = 0.5
"""Smallest overlap of two unit vectors of successive steps that count as one direction."""


class FollowedDirections(NamedTuple):
    """Orthonormal eigenvectors, largest eigenvalue first, and the number of the direction that each continues.

    Attributes:
        vectors: `[p, m]`.
        numbers: of the directions. A direction is numbered when it is first seen, from 0.
        seen: directions so far.
    """

    vectors: Float[Tensor, "p m"]
    numbers: tuple[int, ...]
    seen: int


def follow(vectors: Float[Tensor, "p m"], before: FollowedDirections | None) -> FollowedDirections:
    """Return eigenvectors with the numbers and signs of those of the step before.

    Vectors are paired so that the sum of the overlaps is largest. A vector without a partner, or whose overlap with it
    is below 1/2, begins a new direction. Its sum is positive: that does not depend on the eigen-solver's initial guess.
    """
    from scipy.optimize import linear_sum_assignment  # takes half a second to load, and flows do not follow

    count = vectors.shape[1]
    signs = np.where(vectors.sum(0).double().cpu().numpy() < 0, -1.0, 1.0)
    numbers: list[int | None] = [None] * count
    if before is not None:
        overlaps = (before.vectors.T @ vectors).double().cpu().numpy()
        for old, new in zip(*linear_sum_assignment(-np.abs(overlaps)), strict=True):
            if abs(overlaps[old, new]) >= SAME:
                numbers[new], signs[new] = before.numbers[old], np.sign(overlaps[old, new])
    seen, known = before.seen if before else 0, []
    for number in numbers:
        known.append(seen if number is None else number)
        seen += number is None
    return FollowedDirections(vectors * torch.from_numpy(signs).to(vectors), tuple(known), seen)
