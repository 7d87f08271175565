"""A simple vision transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .activations import activation as activation_of


class Vit(nn.Module):
    """A vision transformer with fixed positions and a linear head that starts at zero.

    It embeds square patches linearly between two norms, adds the positions, and applies the encoder layers. The mean
    over patches, a norm and the head follow.

    Args:
        shape: channels, height, width of an image.
        outputs: output units.
        patch: side of a patch [pixels].
        width: model dimension, a multiple of 4.
        layers: encoder layers.
        heads, head_width: attention heads and the dimension of each; their product need not be the width.
        hidden: units between the two linear maps of a feed-forward part.
        activation: gelu, silu, relu or tanh.

    Raises:
        ValueError: patches do not tile the images, or the width is not a multiple of 4, as positions require.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        outputs: int,
        *,
        patch: int = 4,
        width: int = 64,
        layers: int = 4,
        heads: int = 8,
        head_width: int = 64,
        hidden: int = 256,
        activation: str = "gelu",
    ):
        super().__init__()
        channels, rows, columns = shape
        if rows % patch or columns % patch:
            raise ValueError(f"patches of {patch}x{patch} pixels do not tile images of {rows}x{columns}")
        if width % 4:
            raise ValueError(f"the width must be a multiple of 4, for positions in two directions (got {width})")
        act, self.patch = activation_of(activation), patch
        pixels = channels * patch**2
        self.embedding = nn.Sequential(nn.LayerNorm(pixels), nn.Linear(pixels, width), nn.LayerNorm(width))
        self.register_buffer("positions", sine_cosine_2d(rows // patch, columns // patch, width))
        self.layers = nn.ModuleList(EncoderLayer(width, heads, head_width, hidden, act) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Return the outputs `[n, outputs]` for images `[n, *shape]`."""
        x = self.embedding(patches(images, self.patch)) + self.positions
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x.mean(1)))


class EncoderLayer(nn.Module):
    """Attention and a feed-forward part, each preceded by a norm and with a residual connection."""

    def __init__(self, width: int, heads: int, head_width: int, hidden: int, activation: nn.Module):
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * heads * head_width, bias=False)
        self.out = nn.Linear(heads * head_width, width, bias=False)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), activation, nn.Linear(hidden, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.project(self.attention_norm(x)).chunk(3, -1)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.feed_forward(x)


def patches(images: Tensor, size: int) -> Tensor:
    """Return images `[n, c, h, w]` as rows of square patches `[n, (h / size) (w / size), size size c]`."""
    tiles = images.unflatten(3, (-1, size)).unflatten(2, (-1, size))  # n, c, row, y, column, x
    return tiles.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def sine_cosine_2d(rows: int, columns: int, width: int) -> Tensor:
    """Return fixed positions `[rows columns, width]`: sine and cosine of x, then of y.

    Their frequencies fall geometrically.
    """
    frequency = 10_000.0 ** -torch.linspace(0, 1, width // 4)
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [coordinate.flatten()[:, None] * frequency for coordinate in (x, y)]
    return torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], dim=1)
