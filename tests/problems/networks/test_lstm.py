"""The long short-term memory against torch's."""

from __future__ import annotations

import torch
from torch import nn

from centralflows.problems.networks.lstm import Lstm


def test_loss_and_gradient_are_those_of_torchs_lstm():
    torch.manual_seed(0)
    network = Lstm(4, 7, 3, layers=2, width=5).double()
    other = nn.LSTM(5, 5, num_layers=2, batch_first=True).double()
    pairs = {
        f"{theirs}_l{layer}": f"layers.{layer}.{ours}"
        for layer in range(2)
        for theirs, ours in (
            ("weight_ih", "read.weight"),
            ("bias_ih", "read.bias"),
            ("weight_hh", "recur.weight"),
            ("bias_hh", "recur.bias"),
        )
    }
    ours, theirs = dict(network.named_parameters()), dict(other.named_parameters())
    assert set(theirs) == set(pairs)
    with torch.no_grad():
        for name, value in theirs.items():
            value.copy_(ours[pairs[name]])
    tokens = torch.randint(4, (6, 7))
    found = network(tokens)
    expected = network.head(other(network.embedding(tokens).detach())[0])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    found.square().sum().backward()
    expected.square().sum().backward()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[pairs[name]].grad, value.grad, rtol=1e-10, atol=1e-10)
