"""Normalisation layers with correct third derivatives.

torch 2.13 returns wrong third derivatives (5 to 70 per cent) for its fused `layer_norm`, `instance_norm` and
training-mode `batch_norm`. In elementary operations they are correct. The derivative check rejects the fused ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LayerNorm(nn.Module):
    """Layer normalisation over the last axis in elementary operations, with the parameters of `torch.nn.LayerNorm`."""

    def __init__(self, features: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        variance = centred.square().mean(-1, keepdim=True)
        return centred * (variance + self.eps).rsqrt() * self.weight + self.bias


class RMSNorm(nn.Module):
    """Root-mean-square normalisation over the last axis in elementary operations, parametrised as
    `torch.nn.RMSNorm`."""

    def __init__(self, features: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt() * self.weight
