"""Fully connected network."""

from __future__ import annotations

import itertools

from torch import nn


def mlp(inputs: int, outputs: int, *, width: int = 256, depth: int = 2) -> nn.Sequential:
    """Flattens its input; `depth` hidden layers of `width` units with GELU; a linear head."""
    sizes = [inputs] + [width] * depth
    hidden = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), nn.GELU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(sizes[-1], outputs))
