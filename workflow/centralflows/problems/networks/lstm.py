"""A long short-term memory network on sequences of symbols."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Lstm(nn.Module):
    """An embedding, `layers` long short-term memory layers, and a linear head for every token.

    Args:
        symbols: size of the alphabet.
        length: tokens of a sequence; it has no effect.
        outputs: output units for a token.
        layers: memory layers, each with the output of the layer before as its input.
        width: units of the embedding and of every layer.
    """

    batched = True  # measured: derivatives along several vectors are faster in one pass

    def __init__(self, symbols: int, length: int, outputs: int, *, layers: int = 2, width: int = 48):
        super().__init__()
        self.embedding = nn.Embedding(symbols, width)
        self.layers = nn.Sequential(*(Memory(width) for _ in range(layers)))
        self.head = nn.Linear(width, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the outputs `[n, length, outputs]` for tokens `[n, length]`."""
        return self.head(self.layers(self.embedding(tokens)))


class Memory(nn.Module):
    """One memory layer from `[n, length, width]` to the same shape.

    Its parameters and gate order are those of `torch.nn.LSTM`. It is written in elementary operations, because torch's
    own has no second derivative under cuDNN.
    """

    def __init__(self, width: int):
        super().__init__()
        self.width = width
        self.read = nn.Linear(width, 4 * width)
        self.recur = nn.Linear(width, 4 * width)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(width**-0.5), width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        hidden = cell = x.new_zeros(len(x), self.width)
        seen = []
        # The terms that do not depend on the hidden state are one product for all tokens.
        for reading in functional.linear(x, self.read.weight, self.read.bias + self.recur.bias).unbind(1):
            gates = reading + hidden @ self.recur.weight.T
            admit, keep, proposal, show = gates.chunk(4, -1)
            cell = keep.sigmoid() * cell + admit.sigmoid() * proposal.tanh()
            hidden = show.sigmoid() * cell.tanh()
            seen.append(hidden)
        return torch.stack(seen, 1)
