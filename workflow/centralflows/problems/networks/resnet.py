"""A residual network with group norm."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .activations import activation as activation_of


class ResNet(nn.Module):
    """A 3x3 convolution without bias, stages of residual blocks, the mean over pixels, and a linear head.

    Each stage after the first begins with stride 2 and has twice the channels of the stage before. A norm has one group
    for each base channel, so a group has one channel in the first stage, two in the second, and so on. The head and the
    second norm of every block start at zero.

    Args:
        shape: channels, height, width of an image.
        outputs: output units.
        blocks: residual blocks of each stage.
        width: channels of the first stage, and groups of every norm.
        activation: gelu, silu, relu or tanh.

    Raises:
        ValueError: an image is too small, so nothing would remain to normalise.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        outputs: int,
        *,
        blocks: Sequence[int] = (3, 3, 3),
        width: int = 16,
        activation: str = "gelu",
    ):
        super().__init__()
        least = 2 ** max(1, len(blocks) - 1)
        if min(shape[1:]) < least:
            raise ValueError(f"images must be at least {least}x{least} for this resnet (got {shape[1]}x{shape[2]})")
        act, scale = activation_of(activation), sum(blocks) ** -0.5
        self.stem = nn.Conv2d(shape[0], width, 3, padding=1, bias=False)
        channels, layers = width, []
        for stage, count in enumerate(blocks):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(Block(channels, stride * channels, stride, width, scale, act))
                channels *= stride
        self.blocks = nn.Sequential(*layers)
        self.head = nn.Linear(channels, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for start in (*(block.norms[1] for block in self.blocks), self.head):
            nn.init.zeros_(start.weight)
            nn.init.zeros_(start.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Return the outputs `[n, outputs]` for images `[n, *shape]`."""
        # Adaptive pooling has no deterministic derivative on a GPU, so the mean is explicit.
        return self.head(self.blocks(self.stem(images)).mean((2, 3)))


class Block(nn.Module):
    """Two 3x3 convolutions, each with a norm; added, with a scale, to the block's input before the second activation.

    With stride 2, the input passes through a 3x3 convolution with a norm before the sum.
    """

    def __init__(self, inputs: int, channels: int, stride: int, groups: int, scale: float, activation: nn.Module):
        super().__init__()
        self.scale, self.activation = scale, activation
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(inputs, channels, 3, stride, padding=1), nn.Conv2d(channels, channels, 3, padding=1)]
        )
        self.norms = nn.ModuleList(nn.GroupNorm(groups, channels) for _ in range(2))
        self.shortcut = (
            nn.Sequential(nn.Conv2d(inputs, channels, 3, stride, padding=1), nn.GroupNorm(groups, channels))
            if stride > 1
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.norms[0](self.convolutions[0](x)))
        y = self.norms[1](self.convolutions[1](y))
        return self.activation(torch.add(self.shortcut(x), y, alpha=self.scale))
