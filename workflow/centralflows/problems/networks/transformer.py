"""A transformer decoder on sequences of symbols."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from .activations import activation as activation_of


class Transformer(nn.Module):
    """An embedding, `layers` decoder layers, and a linear head that starts at zero.

    A decoder layer has causal self-attention, attention to the embedded input, and a feed-forward part of four times
    the width. Each has a residual connection and is followed by a norm.

    Args:
        symbols: size of the alphabet.
        length: tokens of a sequence.
        outputs: output units for a token.
        layers: decoder layers.
        width: model dimension, a multiple of twice the heads.
        heads: attention heads.
        activation: gelu, silu, relu or tanh.

    Raises:
        ValueError: the width is not a multiple of twice the heads.
    """

    batched = True  # measured: derivatives along several vectors are faster in one pass

    def __init__(
        self,
        symbols: int,
        length: int,
        outputs: int,
        *,
        layers: int = 4,
        width: int = 32,
        heads: int = 4,
        activation: str = "gelu",
    ):
        super().__init__()
        if width % (2 * heads):
            raise ValueError(f"the width must be a multiple of twice the heads ({2 * heads}) (got {width})")
        act = activation_of(activation)
        self.scale = math.sqrt(width)
        self.embedding = nn.Embedding(symbols, width)
        self.register_buffer("positions", sine_cosine(length, width))
        self.layers = nn.ModuleList(DecoderLayer(width, heads, act) for _ in range(layers))
        self.head = nn.Linear(width, outputs)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the outputs `[n, length, outputs]` for tokens `[n, length]`."""
        memory = self.embedding(tokens) * self.scale + self.positions
        x = memory
        for layer in self.layers:
            x = layer(x, memory)
        return self.head(x)


class DecoderLayer(nn.Module):
    """Self-attention, attention to the embedded input, and a feed-forward part."""

    def __init__(self, width: int, heads: int, activation: nn.Module):
        super().__init__()
        self.self_attention, self.cross_attention = Attention(width, heads), Attention(width, heads)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), activation, nn.Linear(4 * width, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        x = self.norms[0](x + self.self_attention(x, x, causal=True))
        x = self.norms[1](x + self.cross_attention(x, memory, causal=False))
        return self.norms[2](x + self.feed_forward(x))


class Attention(nn.Module):
    """Multi-head attention."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor, *, causal: bool) -> Tensor:
        weight, bias = self.project.weight.chunk(3), self.project.bias.chunk(3)
        query, key, value = (
            functional.linear(source, w, b).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for source, w, b in zip((x, memory, memory), weight, bias, strict=True)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
        return self.out(mixed.transpose(1, 2).flatten(2))


def sine_cosine(length: int, width: int) -> Tensor:
    """Return fixed positions `[length, width]`: sines and cosines of geometrically falling frequency, interleaved."""
    angle = torch.arange(length)[:, None] * 10_000.0 ** (-torch.arange(0, width, 2) / width)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
