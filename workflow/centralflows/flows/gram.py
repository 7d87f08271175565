"""Gram matrices of long vectors, summed so that rounding does not break a complementarity problem."""

from __future__ import annotations

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor


def gram(a: Float[Tensor, "p j"], b: Float[Tensor, "p k"]) -> Float[ndarray, "j k"]:
    """Return a' b. On a CPU, float32 products of blocks of 1024 rows are added up in float64.

    The rounding of one long float32 sum would make the complementarity problem lose its monotonicity. On a CPU, float64
    copies of both matrices would cost more than the product.
    """
    whole = 0 if a.is_cuda or not a.dtype == b.dtype == torch.float32 else len(a) - len(a) % 1024
    total = (a[whole:].double().T @ b[whole:].double()).cpu()
    if whole:
        blocks = [x[:whole].T.unflatten(1, (-1, 1024)).transpose(0, 1) for x in (a, b)]
        total = total + torch.bmm(blocks[0], blocks[1].transpose(1, 2)).double().sum(0)
    return total.numpy()


def weighted_gram(a: Float[Tensor, "p q"], preconditioner: Float[Tensor, " *p"]) -> Float[ndarray, "q q"]:
    """Return a' P^{-1} a, summed as in `gram`."""
    if len(preconditioner) == 1:
        return gram(a, a) / preconditioner.item()
    weighted = a / preconditioner.sqrt()[:, None]
    return gram(weighted, weighted)
