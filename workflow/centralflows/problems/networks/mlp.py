"""A fully connected network."""

from __future__ import annotations

import itertools
import math

from torch import nn

from .activations import activation as activation_of


def mlp(
    shape: tuple[int, ...], outputs: int, *, width: int = 256, depth: int = 2, activation: str = "gelu"
) -> nn.Sequential:
    """Return a fully connected network for points or images `[n, *shape]`.

    It flattens them, and has `depth` hidden layers of `width` units and a linear head.
    """
    act = activation_of(activation)
    sizes = [math.prod(shape)] + [width] * depth
    hidden = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), act)]
    network = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(sizes[-1], outputs))
    network.batched = True  # measured: derivatives along several vectors are faster in one pass
    return network
