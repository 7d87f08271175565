"""Losses and activations with kinks whose second derivative torch has not."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def hardsigmoid(x: Tensor) -> Tensor:
    return functional.relu6(x + 3) / 6


def multi_margin_loss(
    x: Tensor,
    target: Tensor,
    p: float | int = 1,
    margin: float | int = 1,
    weight: Tensor | None = None,
    reduction: int = 1,
) -> Tensor:
    r"""Return $\frac{w_y}{C} \sum_{i \ne y} \max(0, m - x_y + x_i)^p$."""
    x = torch.atleast_1d(x)
    target = target.reshape(x.shape[:-1])
    classes = target.unsqueeze(-1)
    excess = (margin - x.gather(-1, classes) + x).clamp_min(0)
    excess = (excess if p == 1 else excess**p).scatter(-1, classes, 0.0)
    losses = excess.mean(-1)
    return _reduced(losses if weight is None else losses * weight[target], reduction)


def multilabel_margin_loss(x: Tensor, target: Tensor, reduction: int = 1) -> Tensor:
    r"""Return $\frac1C \sum_{j \in y} \sum_{i \notin y} \max(0, 1 - x_j + x_i)$; the labels y end at the first -1."""
    x, target = torch.atleast_1d(x, target)
    given = (target >= 0).cumprod(-1).bool()
    labels = target.where(given, 0)
    hits = torch.zeros_like(x, dtype=target.dtype).scatter_add(-1, labels, given.to(target.dtype)) > 0
    excess = (1 - x.gather(-1, labels).unsqueeze(-1) + x.unsqueeze(-2)).clamp_min(0)
    counted = given.unsqueeze(-1) & ~hits.unsqueeze(-2)
    return _reduced(excess.where(counted, 0.0).sum((-1, -2)) / x.shape[-1], reduction)


def _reduced(losses: Tensor, reduction: int) -> Tensor:
    """Return the losses, their mean (1) or their sum (2)."""
    return losses.mean() if reduction == 1 else losses.sum() if reduction == 2 else losses
