"""Small convolutional network."""

from __future__ import annotations

from torch import nn


def cnn(size: int, outputs: int, *, planes: int = 3, channels: int = 32, dense: int = 128) -> nn.Sequential:
    """For images `[n, planes, size, size]`: two 3x3 convolutions without bias (`channels`, then twice as many), each with
    GELU and 2x2 average pooling; a dense layer without bias with GELU; a linear head."""
    return nn.Sequential(
        nn.Conv2d(planes, channels, 3, padding=1, bias=False),
        nn.GELU(),
        nn.AvgPool2d(2),
        nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False),
        nn.GELU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * channels * (size // 4) ** 2, dense, bias=False),
        nn.GELU(),
        nn.Linear(dense, outputs),
    )
