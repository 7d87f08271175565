"""The vision transformer against torch's own layers."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from centralflows.problems.networks.vit import Vit, patches, sine_cosine_2d


def test_patches_are_those_of_unfold():
    images = torch.randn(2, 3, 8, 12)
    expected = functional.unfold(images, 4, stride=4).transpose(1, 2)  # channels slowest
    expected = expected.unflatten(-1, (3, 16)).transpose(-1, -2).flatten(-2)
    assert torch.equal(patches(images, 4), expected)


def test_positions_of_each_patch_are_its_own():
    positions = sine_cosine_2d(3, 4, 8)
    assert positions.shape == (12, 8)
    x, y = 2, 1
    angles = [x, x * 1e-4, y, y * 1e-4]
    expected = [f(a) for pair in (angles[:2], angles[2:]) for f in (math.sin, math.cos) for a in pair]
    torch.testing.assert_close(positions[y * 4 + x], torch.tensor(expected))
    assert torch.pdist(positions).min() > 0.1


def test_loss_and_gradient_are_those_of_torchs_layers():
    """Where heads make up the width, torch's attention has the same weights."""
    width, heads = 8, 2
    network = Vit((3, 8, 8), 4, width=width, layers=2, heads=heads, head_width=4, hidden=12).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, dtype=torch.float64))
    images = torch.randn(5, 3, 8, 8, dtype=torch.float64)
    weights = {name: value.detach().clone().requires_grad_() for name, value in network.named_parameters()}

    def linear(x, name):
        return functional.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))

    def norm(x, name):
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return functional.layer_norm(x, weight.shape, weight, bias)

    x = norm(linear(norm(patches(images, 4), "embedding.0"), "embedding.1"), "embedding.2") + network.positions
    for layer in ("layers.0", "layers.1"):
        attention = nn.MultiheadAttention(width, heads, bias=False, batch_first=True).double()
        own = {"in_proj_weight": weights[f"{layer}.project.weight"], "out_proj.weight": weights[f"{layer}.out.weight"]}
        y = norm(x, f"{layer}.attention_norm")
        x = x + torch.func.functional_call(attention, own, (y, y, y), {"need_weights": False})[0]
        y = linear(norm(x, f"{layer}.feed_forward.0"), f"{layer}.feed_forward.1")
        x = x + linear(functional.gelu(y), f"{layer}.feed_forward.3")
    expected = linear(norm(x.mean(1), "norm"), "head")

    found = network(images)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    found.square().sum().backward()
    expected.square().sum().backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, weights[name].grad, rtol=1e-9, atol=1e-9)
