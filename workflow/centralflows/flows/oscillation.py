"""The oscillation that a central flow averages over, and its contributions to loss and gradient."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from .complementarity import Solution
from .gram import gram


class Oscillation(NamedTuple):
    r"""The covariance $\Sigma = U X U'$ of the oscillations that a central flow averages over.

    Attributes:
        basis: $U$ `[p, k]`, the critical eigenvectors with $U' P U = I$.
        products: $H U$ `[p, k]`.
        curvatures: $U' H U$ `[k, k]`, symmetric, with effective eigenvalues on its diagonal.
        solution: $X$ with its certificate.
    """

    basis: Float[Tensor, "p k"]
    products: Float[Tensor, "p k"]
    curvatures: Float[ndarray, "k k"]
    solution: Solution

    @property
    def loss(self) -> float:
        r"""Contribution of the oscillations to the loss, $\tfrac12 \langle H, \Sigma \rangle$.

        It is $\mathrm{tr} X$ at the edge of stability, where $U' H U = 2$.
        """
        return float(np.trace(self.solution.x))

    @property
    def gradient_norm_squared(self) -> float:
        r"""Contribution of the oscillations to $|\nabla L|^2$: $\mathrm{tr}(H \Sigma H)$."""
        return float(np.sum(gram(self.products, self.products) * self.solution.x))

    @property
    def rank(self) -> int:
        """Rank of Sigma, without variances that are mere rounding relative to the largest."""
        variances = np.linalg.eigvalsh(self.solution.x)
        return int((variances > 1e-6 * max(variances[-1], 1e-300)).sum())

    def principal(self) -> tuple[Float[ndarray, " k"], Float[Tensor, "p k"]]:
        """Return the variances in P-normalised units, largest first, and their directions: columns d with
        d' P d = 1."""
        variances, rotation = np.linalg.eigh(self.solution.x)
        rotation = torch.as_tensor(rotation[:, ::-1].copy(), dtype=self.basis.dtype, device=self.basis.device)
        return np.maximum(variances[::-1], 0.0), self.basis @ rotation
