"""The residual network against the same function written out."""

from __future__ import annotations

import torch
from torch.nn import functional

from centralflows.problems.networks.resnet import ResNet


def randomised(network: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return network.double()


def group_norm(x, weight, bias, groups):
    """Pixels and channels of a group, brought to mean 0 and variance 1."""
    n, c, h, w = x.shape
    rows = x.reshape(n, groups, -1)
    rows = (rows - rows.mean(-1, keepdim=True)) / (rows.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    return rows.reshape(n, c, h, w) * weight[:, None, None] + bias[:, None, None]


def test_loss_and_gradient_are_those_of_the_function_written_out():
    network = randomised(ResNet((3, 8, 8), 4, blocks=(2, 1), width=4))
    images = torch.randn(5, 3, 8, 8, dtype=torch.float64)
    weights = {name: value.detach().clone().requires_grad_() for name, value in network.named_parameters()}

    def conv(x, name, stride=1):
        return functional.conv2d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), stride, padding=1)

    def norm(x, name):
        return group_norm(x, weights[f"{name}.weight"], weights[f"{name}.bias"], 4)

    x = conv(images, "stem")
    for block, stride in enumerate((1, 1, 2)):
        name = f"blocks.{block}"
        y = functional.gelu(norm(conv(x, f"{name}.convolutions.0", stride), f"{name}.norms.0"))
        y = norm(conv(y, f"{name}.convolutions.1"), f"{name}.norms.1") / 3**0.5
        past = norm(conv(x, f"{name}.shortcut.0", 2), f"{name}.shortcut.1") if stride == 2 else x
        x = functional.gelu(past + y)
    expected = x.flatten(2).mean(2) @ weights["head.weight"].T + weights["head.bias"]

    found = network(images)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    found.square().sum().backward()
    expected.square().sum().backward()
    # The bias before a norm of one channel has no effect: its gradient is rounding, hence the absolute tolerance.
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, weights[name].grad, rtol=1e-9, atol=1e-9)


def test_second_norms_and_head_start_at_zero():
    network = ResNet((3, 8, 8), 4, blocks=(1, 1), width=4)
    for block in network.blocks:
        assert block.norms[1].weight.abs().max() == 0 and block.norms[0].weight.abs().min() == 1
        assert {norm.num_groups for norm in block.norms} == {4}
    assert network.head.weight.abs().max() == 0
