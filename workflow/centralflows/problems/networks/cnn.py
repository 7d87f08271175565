"""A small convolutional network."""

from __future__ import annotations

from torch import nn

from .activations import activation as activation_of


def cnn(
    shape: tuple[int, int, int], outputs: int, *, channels: int = 32, dense: int = 128, activation: str = "gelu"
) -> nn.Sequential:
    """Return a network for images `[n, *shape]`.

    It has two 3x3 convolutions without bias (`channels`, then twice as many), each with activation and 2x2 average
    pooling; a dense layer without bias, with activation; and a linear head.

    Args:
        shape: channels, height, width; an odd last row or column is not pooled.

    Raises:
        ValueError: an image is smaller than 4x4.
    """
    depth, height, width = shape
    if min(height, width) < 4:
        raise ValueError(f"the cnn pools twice, so images must be at least 4x4 (got {height}x{width})")
    act = activation_of(activation)
    return nn.Sequential(
        nn.Conv2d(depth, channels, 3, padding=1, bias=False),
        act,
        nn.AvgPool2d(2),
        nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False),
        act,
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * channels * (height // 4) * (width // 4), dense, bias=False),
        act,
        nn.Linear(dense, outputs),
    )
