"""Embeddings as functions of their weights, dense, and with a constant row for padding."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...common.errors import UserError


class NotAFunction(UserError, ValueError):
    """An option of a layer by which its loss is not a function of the weights, or by which torch's gradient is not that
    of the loss."""


def embedding(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
    *,
    initial: Callable[[Tensor], Tensor],
) -> Tensor | None:
    """Return rows of `weight`; the padding row is that of `initial(weight)`, because torch never trains it.

    For torch the loss depends on the padding row, but the gradient does not.

    Raises:
        NotAFunction: gradients are to be scaled, or the padding row has no initial value.
    """
    _require_gradient(scale_grad_by_freq)
    if padding_idx < 0 and not sparse:
        return None
    rows = torch.embedding(weight, indices)
    if padding_idx < 0:
        return rows
    return torch.where((indices == padding_idx).unsqueeze(-1), initial(weight)[padding_idx], rows)


def embedding_bag(
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the sum (mode 0), mean (1) or maximum (2) of the rows of each bag, and indices that autograd does not need.

    Entries with the index `padding_idx` do not count, and an empty bag is zero.
    """
    _require_gradient(scale_grad_by_freq)
    bags = len(offsets) - include_last_offset
    places = torch.arange(len(indices), device=indices.device)
    bag = torch.bucketize(places, offsets[:bags].to(places.dtype), right=True) - 1
    rows = torch.embedding(weight, indices)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights[:, None]
    counted = torch.ones_like(indices, dtype=torch.bool)
    if padding_idx is not None:
        counted = indices != padding_idx % len(weight)
    sizes = torch.zeros(bags, dtype=places.dtype, device=places.device).index_add(0, bag, counted.to(places.dtype))
    zeros = rows.new_zeros(bags, rows.shape[1])
    if mode == 2:
        least = rows.masked_fill(~counted[:, None], -torch.inf)
        where = bag[:, None].expand_as(rows)
        result = zeros.scatter_reduce(0, where, least, "amax", include_self=False)
        result = result.masked_fill((sizes == 0)[:, None], 0.0)
    else:
        result = zeros.index_add(0, bag, rows.masked_fill(~counted[:, None], 0.0))
        result = result / sizes.clamp_min(1)[:, None] if mode == 1 else result
    return result, bag, sizes, sizes


def embedding_renorm(*_: object) -> Tensor:
    """Refuse `max_norm`."""
    raise NotAFunction(
        "an embedding with `max_norm` shortens its own weights at every evaluation, so the loss is not a function of the "
        "weights; make the embedding without `max_norm`"
    )


def _require_gradient(scale_grad_by_freq: bool) -> None:
    if scale_grad_by_freq:
        raise NotAFunction(
            "an embedding with `scale_grad_by_freq` returns a gradient that is not that of the loss; make the embedding "
            "without `scale_grad_by_freq`"
        )
