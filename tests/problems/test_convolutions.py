"""Convolutions as bilinear maps: the values of torch's own, and derivatives of every order that are those of differences."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from centralflows.derivatives.point import Point
from centralflows.problems import substitution
from centralflows.problems.compositions.convolutions import convolution
from centralflows.problems.objective import Objective
from centralflows.problems.substitution import Substitution

LAYERS = {
    "plain": (nn.Conv2d(4, 6, 3), (2, 4, 7, 6)),
    "strided": (nn.Conv2d(4, 6, 3, stride=2, padding=1), (2, 4, 8, 7)),
    "dilated": (nn.Conv2d(4, 6, 2, dilation=2, padding=(1, 0), bias=False), (2, 4, 6, 6)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2, padding=1), (2, 4, 5, 5)),
    "sequence": (nn.Conv1d(4, 4, 3, padding=2, groups=4), (2, 4, 9)),
    "volume": (nn.Conv3d(2, 3, 2, stride=(1, 2, 1)), (2, 2, 3, 4, 3)),
    "same": (nn.Conv2d(4, 6, 3, padding="same"), (2, 4, 5, 5)),
    "reflected": (nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), (2, 4, 5, 5)),
}


@pytest.fixture
def on_every_device(monkeypatch):
    """Let convolutions be bilinear maps on the CPU too."""
    for name in ("conv1d", "conv2d", "conv3d"):
        monkeypatch.setitem(substitution.COMPOSITIONS, name, convolution)


def objective(layer: nn.Module, shape: tuple[int, ...], *, ours: bool, batched: bool = False) -> Objective:
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Sequential(layer), nn.Tanh(), nn.Flatten()).double()
    inputs = torch.randn(shape, generator=generator, dtype=torch.float64)
    targets = torch.zeros(len(inputs), dtype=torch.float64)
    made = Objective(network, inputs, targets, lambda f, y: f.square().sum(1).mean(), batched=batched)
    if not ours:
        made.outputs = lambda w, inputs=inputs: torch.func.functional_call(network, made.unflatten(w), (inputs,))
    return made


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.usefixtures("on_every_device")
@pytest.mark.parametrize("kind", LAYERS)
def test_all_derivatives_are_those_of_torch(kind, batched):
    """Both are exact: they differ by the order of sums of at most a few hundred terms of order one."""
    expected, found = (objective(*LAYERS[kind], ours=ours, batched=ours and batched) for ours in (False, True))
    w = torch.randn(expected.p, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    u = torch.randn(expected.p, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    left, right = Point(expected, w), Point(found, w)
    for derivative in (
        lambda point: point.loss,
        lambda point: point.gradient,
        lambda point: point.hessian_product(u),
        lambda point: point.curvature_gradients(u),
    ):
        torch.testing.assert_close(derivative(right), derivative(left), rtol=1e-10, atol=1e-10)
    assert bool(found._substitution.replaced) == (kind != "same")


@pytest.mark.usefixtures("on_every_device")
def test_inputs_have_derivatives_too():
    _, shape = LAYERS["strided"]
    layer = nn.Conv2d(4, 6, 3, stride=2, padding=1).double()

    def network(x):
        with Substitution():
            return layer(x)

    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, x, check_forward_ad=True) and torch.autograd.gradgradcheck(network, x)


@pytest.mark.usefixtures("on_every_device")
@pytest.mark.parametrize("kind", LAYERS)
def test_forward_mode_goes_through_reverse_mode(kind):
    expected, found = (objective(*LAYERS[kind], ours=ours) for ours in (False, True))
    w = torch.randn(expected.p, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    u = torch.randn(expected.p, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    products = [torch.func.jvp(torch.func.grad(made), (w,), (u,))[1] for made in (expected, found)]
    torch.testing.assert_close(*products, rtol=1e-10, atol=1e-10)


def test_a_cpu_keeps_torchs_convolutions():
    """They are as fast there."""
    with Substitution() as mode:
        nn.Conv2d(1, 1, 1)(torch.zeros(1, 1, 2, 2))
    assert not mode.replaced
