"""The selective state-space network against its recurrence, token by token in numpy."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from centralflows.problems.networks.mamba import Mamba, causal_convolution, selective_scan


def silu(x):
    return x / (1 + np.exp(-x))


def naive(network: Mamba, row: np.ndarray) -> np.ndarray:
    """Outputs `[length, outputs]` of one row of tokens, by scalar loops over time."""
    w = {name: value.detach().numpy() for name, value in network.named_parameters()}

    def rms(x, name):
        return x / np.sqrt(np.mean(x**2) + 1e-5) * w[f"{name}.weight"]

    x = [w["embedding.weight"][token] for token in row]
    for layer in range(len(network.layers)):
        p = {name: w[f"layers.{layer}.{name}"] for name, _ in network.layers[layer].named_parameters()}
        channels, state = p["log_rate"].shape
        rank = p["step.weight"].shape[1]
        both = [p["enter.weight"] @ rms(token, f"norms.{layer}") for token in x]
        before, hidden = np.zeros((p["taps"].shape[1] - 1, channels)), np.zeros((channels, state))
        for t, now in enumerate(both):
            window = np.vstack([before, now[:channels]])
            before = window[1:]
            u = silu((window * p["taps"].T).sum(0) + p["taps_bias"])
            selected = p["select.weight"] @ u
            step = np.log1p(np.exp(p["step.weight"] @ selected[:rank] + p["step.bias"]))
            enter, leave = selected[rank : rank + state], selected[rank + state :]
            for c in range(channels):
                for s in range(state):
                    decay = np.exp(-step[c] * np.exp(p["log_rate"][c, s]))
                    hidden[c, s] = decay * hidden[c, s] + step[c] * enter[s] * u[c]
            y = (hidden @ leave + p["skip"] * u) * silu(now[channels:])
            x[t] = x[t] + p["leave.weight"] @ y
    return np.stack([w["head.weight"] @ rms(token, f"norms.{len(network.layers)}") for token in x])


def test_outputs_are_those_of_the_recurrence():
    torch.manual_seed(0)
    network = Mamba(4, 9, 3, layers=2, width=6, state=3, taps=4).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    tokens = torch.randint(4, (2, 9))
    expected = np.stack([naive(network, row) for row in tokens.numpy()])
    np.testing.assert_allclose(network(tokens).detach().numpy(), expected, rtol=1e-10, atol=1e-12)


def test_gradients_of_the_scan_are_those_of_its_closed_form():
    r"""$y_t = \sum_{s \le t} C_t \cdot e^{A (\Delta_{s+1} + \dots + \Delta_t)} \Delta_s B_s x_s$."""
    torch.manual_seed(0)
    n, length, channels, state = 2, 5, 3, 4
    x, enter, leave = (torch.randn(n, length, k, dtype=torch.float64) for k in (channels, state, state))
    step = torch.rand(n, length, channels, dtype=torch.float64)
    rate = -torch.rand(channels, state, dtype=torch.float64)
    given = [tensor.requires_grad_() for tensor in (x, step, rate, enter, leave)]
    total = step.cumsum(1)
    since = total[:, :, None] - total[:, None]  # n, t, s, channels
    decay = (since[..., None] * rate).exp() * torch.ones(length, length).tril()[:, :, None, None]
    expected = torch.einsum("btk,btsck,bsc,bsc,bsk->btc", leave, decay, step, x, enter)
    found = selective_scan(*given)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(*(torch.autograd.grad(y.square().sum(), given) for y in (found, expected)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_the_convolution_is_torchs():
    x, taps = torch.randn(2, 6, 3), torch.randn(3, 4)
    expected = nn.functional.conv1d(x.transpose(1, 2), taps[:, None], padding=3, groups=3)[..., :6].transpose(1, 2)
    torch.testing.assert_close(causal_convolution(x, taps), expected)
