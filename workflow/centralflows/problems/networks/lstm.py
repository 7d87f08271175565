"""Long short-term memory on sequences of symbols."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Lstm(nn.Module):
    """Embedding, `layers` of long short-term memory, linear head for every token.

    Args:
        symbols: size of the alphabet.
        length: tokens of a sequence; any will do.
        outputs: output units for a token.
        layers: memory layers, each reading the one before.
        width: units of the embedding and of every layer.
    """

    batched = True  # derivatives along several vectors are faster in one pass, as measured

    def __init__(self, symbols: int, length: int, outputs: int, *, layers: int = 2, width: int = 48):
        super().__init__()
        self.embedding = nn.Embedding(symbols, width)
        self.layers = nn.Sequential(*(Memory(width) for _ in range(layers)))
        self.head = nn.Linear(width, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens `[n, length]` to outputs `[n, length, outputs]`."""
        return self.head(self.layers(self.embedding(tokens)))


class Memory(nn.Module):
    """One layer, `[n, length, width]` to the same; parameters as `torch.nn.LSTM`, gates in its order.

    Written out because torch's own has no second derivative where cuDNN computes it.
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
        # What does not depend on the hidden state is one product for all tokens.
        for reading in functional.linear(x, self.read.weight, self.read.bias + self.recur.bias).unbind(1):
            gates = reading + hidden @ self.recur.weight.T
            admit, keep, proposal, show = gates.chunk(4, -1)
            cell = keep.sigmoid() * cell + admit.sigmoid() * proposal.tanh()
            hidden = show.sigmoid() * cell.tanh()
            seen.append(hidden)
        return torch.stack(seen, 1)
