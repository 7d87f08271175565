"""Distances between all pairs of vectors. torch's own have no second derivative."""

from __future__ import annotations

import torch
from torch import Tensor


def cdist(x1: Tensor, x2: Tensor, p: float | int = 2.0, compute_mode: int | None = None) -> Tensor:
    """Return the p-norm distances `[..., a, b]` of the rows of `[..., a, d]` and `[..., b, d]`.

    All derivatives are zero where two rows coincide, as torch's gradient is.
    """
    large = x1.shape[-2] > 25 or x2.shape[-2] > 25
    if p == 2 and (compute_mode == 1 or (large and not compute_mode)):  # as torch decides
        return _euclidean(x1, x2)
    return _norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p)


def pdist(x: Tensor, p: float | int = 2.0) -> Tensor:
    """Return the p-norm distances of all pairs of rows of `[n, d]`, as a vector."""
    first, second = torch.triu_indices(len(x), len(x), 1, device=x.device)
    return _norm(x.index_select(0, first) - x.index_select(0, second), p)


def _norm(x: Tensor, p: float | int) -> Tensor:
    """Return the p-norms over the last axis, constant at zero vectors."""
    if p == 1:
        return x.abs().sum(-1)
    if p == 2:
        squares = x.square().sum(-1)
        zero = squares == 0
        return squares.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)
    zero = (x == 0).all(-1)
    return torch.linalg.vector_norm(x.masked_fill(zero.unsqueeze(-1), 1.0), p, -1).masked_fill(zero, 0.0)


def _euclidean(x1: Tensor, x2: Tensor) -> Tensor:
    """Return Euclidean distances by one matrix product, without a tensor of all differences."""
    centre = x1.detach().mean(-2, keepdim=True)  # smaller numbers cancel less; distances do not change
    x1, x2 = x1 - centre, x2 - centre
    squares = x1.square().sum(-1).unsqueeze(-1) + x2.square().sum(-1).unsqueeze(-2) - 2 * x1 @ x2.mT
    zero = squares <= 0
    return squares.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)
