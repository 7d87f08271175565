"""A selective state-space network (Mamba) on sequences of symbols."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from .activations import activation as activation_of


class Mamba(nn.Module):
    """An embedding, `layers` selective state-space layers, a norm, and a linear head.

    Each layer has a norm and a residual connection. The head has no bias and small weights.

    Args:
        symbols: size of the alphabet.
        length: tokens of a sequence; it has no effect.
        outputs: output units for a token.
        layers: number of layers.
        width: model dimension.
        state: states of each channel.
        expansion: channels of a layer, in widths.
        taps: number of tokens in a layer's convolution.
        activation: gelu, silu, relu or tanh, after the convolution and in the gate.

    Source: Gu and Dao, arXiv:2312.00752.
    """

    def __init__(
        self,
        symbols: int,
        length: int,
        outputs: int,
        *,
        layers: int = 2,
        width: int = 64,
        state: int = 16,
        expansion: int = 2,
        taps: int = 4,
        activation: str = "silu",
    ):
        super().__init__()
        act = activation_of(activation)
        self.embedding = nn.Embedding(symbols, width)
        self.layers = nn.ModuleList(Selective(width, state, expansion * width, taps, act) for _ in range(layers))
        self.norms = nn.ModuleList(nn.RMSNorm(width, 1e-5) for _ in range(layers + 1))
        self.head = nn.Linear(width, outputs, bias=False)
        nn.init.normal_(self.head.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the outputs `[n, length, outputs]` for tokens `[n, length]`."""
        x = self.embedding(tokens)
        for norm, layer in zip(self.norms, self.layers, strict=False):
            x = x + layer(norm(x))
        return self.head(self.norms[-1](x))


class Selective(nn.Module):
    """A causal convolution per channel and a scan whose step, input and output depend on the token, times a gate."""

    def __init__(self, width: int, state: int, channels: int, taps: int, activation: nn.Module):
        super().__init__()
        self.rank, self.state, self.activation = math.ceil(width / 16), state, activation
        self.enter = nn.Linear(width, 2 * channels, bias=False)
        self.taps = nn.Parameter(torch.empty(channels, taps).uniform_(-1, 1) * taps**-0.5)
        self.taps_bias = nn.Parameter(torch.empty(channels).uniform_(-1, 1) * taps**-0.5)
        self.select = nn.Linear(channels, self.rank + 2 * state, bias=False)
        self.step = nn.Linear(self.rank, channels)
        self.log_rate = nn.Parameter(torch.arange(1.0, state + 1).log().repeat(channels, 1))
        self.skip = nn.Parameter(torch.ones(channels))
        self.leave = nn.Linear(channels, width, bias=False)
        with torch.no_grad():
            self.step.weight.uniform_(-1, 1).mul_(self.rank**-0.5)
            # softplus of the bias is the typical step, log-uniform between 1e-3 and 1e-1
            typical = 10 ** torch.empty(channels).uniform_(-3, -1)
            self.step.bias.copy_(typical.expm1().log())

    def forward(self, x: Tensor) -> Tensor:
        x, gate = self.enter(x).chunk(2, -1)
        x = self.activation(causal_convolution(x, self.taps) + self.taps_bias)
        step, enter, leave = self.select(x).split([self.rank, self.state, self.state], -1)
        y = selective_scan(x, functional.softplus(self.step(step)), -self.log_rate.exp(), enter, leave)
        return self.leave((y + self.skip * x) * self.activation(gate))


def causal_convolution(x: Tensor, taps: Tensor) -> Tensor:
    r"""Return $y_t = \sum_k w_k x_{t - K + 1 + k}$ for every channel: `[n, length, channels]`, taps `[channels, K]`."""
    padded = functional.pad(x, (0, 0, taps.shape[1] - 1, 0))
    return sum(padded[:, k : k + x.shape[1]] * tap for k, tap in enumerate(taps.T))


def selective_scan(x: Tensor, step: Tensor, rate: Tensor, enter: Tensor, leave: Tensor) -> Tensor:
    r"""Return the scan $y_t = C_t \cdot h_t$ with $h_t = e^{\Delta_t A} h_{t-1} + \Delta_t B_t x_t$ for every channel.

    The first state is $h_0 = 0$.

    Args:
        x, step: input and $\Delta$ `[n, length, channels]`.
        rate: $A$ `[channels, state]`.
        enter, leave: $B$ and $C$ `[n, length, state]`.

    Returns:
        y `[n, length, channels]`.
    """
    # Only the recurrence itself runs token by token. (A scan in sums of logarithms would need torch.cumsum, which is
    # not deterministic on a GPU.)
    decay = (step[..., None] * rate).exp()
    drive = (step * x)[..., None] * enter[:, :, None]
    hidden = drive[:, 0]
    states = [hidden]
    for fall, push in zip(decay.unbind(1)[1:], drive.unbind(1)[1:], strict=True):
        hidden = torch.addcmul(push, fall, hidden)
        states.append(hidden)
    return (torch.stack(states, 1) * leave[:, :, None]).sum(-1)
