"""The derivative check accepts what is right and names what is wrong."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from wrong_layer import Cube

from centralflows import Objective
from centralflows.derivatives.derivative_check import WrongDerivatives, check_derivatives, derivative_errors


def objective(*layers: nn.Module, inputs: tuple[int, ...] = (12, 6)) -> Objective:
    torch.manual_seed(0)
    x = torch.randn(*inputs)
    network = nn.Sequential(*layers)
    y = torch.randn_like(network(x).detach())
    return Objective(network, x, y, lambda f, y: 0.5 * (f - y).square().sum() / len(f))


def checked(objective: Objective) -> dict[str, float]:
    return check_derivatives(objective, objective.initial_weights)


@pytest.mark.parametrize("activation", [nn.GELU, nn.SiLU, nn.Tanh])
def test_smooth_networks_pass(activation):
    assert max(checked(objective(nn.Linear(6, 8), activation(), nn.Linear(8, 3))).values()) < 1e-4


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (nn.LayerNorm(8), (12, 6)),
        (nn.BatchNorm1d(8), (12, 6)),
        (nn.InstanceNorm1d(4, affine=True), (12, 4, 6)),
    ],
)
def test_norms_whose_third_derivatives_are_wrong_in_torch_pass(layer, inputs):
    checked(objective(nn.Linear(6, 8), layer, nn.GELU(), nn.Linear(8, 3), inputs=inputs))


def test_a_wrong_layer_is_refused_by_name():
    with pytest.raises(WrongDerivatives, match="Cube"):
        checked(objective(nn.Linear(6, 8), Cube(), nn.Linear(8, 3)))


def test_a_network_with_dropout_is_not_a_function_of_its_weights():
    with pytest.raises(WrongDerivatives, match="not deterministic"):
        checked(objective(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3)))


def test_a_kink_is_caught():
    """The second derivative of relu(x)^2 jumps at 0; the differences step over it, automatic differentiation does not."""
    smooth, kinked = (torch.tensor([x, 1.0], dtype=torch.float64) for x in (1.0, 1e-4))
    assert derivative_errors(lambda x: x.relu().pow(2).sum(), smooth)["third derivative"] < 1e-3
    assert derivative_errors(lambda x: x.relu().pow(2).sum(), kinked)["third derivative"] > 1e-3
