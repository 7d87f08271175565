"""Stabilised steps: order, stability and damping, against closed forms; and the stable flow by them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from centralflows import Experiment, GradientDescent, Objective, RMSProp, ScalarRMSProp
from centralflows.chebyshev import chebyshev_step, scheme, stages_for
from centralflows.criteria import mean_squared_error
from centralflows.integrate import Integrator
from centralflows.schema import Stable


def amplification(stages: int, products: np.ndarray) -> np.ndarray:
    """What a step makes of y' = -lambda y, for products of step and lambda."""
    rates = torch.from_numpy(products)
    return chebyshev_step(lambda t, y: (-rates * y[0],), 0.0, (torch.ones_like(rates),), 1.0, stages)[0].numpy()


@pytest.mark.parametrize("stages", [2, 3, 6, 15, 40])
def test_a_step_is_stable_as_far_as_it_says_and_damps_what_is_fast(stages):
    reach = scheme(stages).reach
    assert 0.4 * stages**2 < reach < 0.6 * stages**2  # Euler steps: 2 each
    inside = amplification(stages, np.linspace(0, reach, 4001))
    assert np.abs(inside).max() <= 1 + 1e-12
    assert np.abs(inside[np.linspace(0, reach, 4001) > 0.6 * reach]).max() < 0.75  # 0.72 for two stages, less for more
    assert abs(amplification(stages, np.array([1.5 * reach])))[0] > 1


@pytest.mark.parametrize("stages", [2, 3, 7])
def test_a_step_is_of_second_order_and_knows_the_time_of_each_stage(stages):
    """y' = -y + cos(t), y(0) = 1: y = (exp(-t) + cos(t) + sin(t)) / 2. Halving the steps divides the error by four."""

    def error(count: int) -> float:
        y, step = (torch.ones(1, dtype=torch.float64),), 1.0 / count
        for i in range(count):
            y = chebyshev_step(lambda t, y: (-y[0] + np.cos(t),), i * step, y, step, stages)
        return abs(y[0].item() - (np.exp(-1) + np.cos(1) + np.sin(1)) / 2)

    errors = [error(count) for count in (16, 32, 64)]
    assert errors[0] < 2e-3
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 4, rtol=0.05)


def test_stages_are_the_fewest_that_reach_far_enough():
    for stiffness in (0.1, 1.0, 3.0, 30.0, 150.0):
        stages = stages_for(stiffness)
        assert scheme(stages).reach >= stiffness and (stages == 2 or scheme(stages - 1).reach < stiffness)
    assert stages_for(50.0) == 10  # a third of a unit of time at an effective sharpness of 100, which may grow by half


@pytest.mark.parametrize(
    ("optimizer", "least", "tolerance"),
    [
        (GradientDescent(1.0), 1.5, 1e-3),
        (GradientDescent(10.0), 30.0, 2e-2),
        (ScalarRMSProp(0.1, 0.95), 1.0, 1e-5),
        (RMSProp(3e-3, 0.95, eps=1e-4), 1.0, 5e-5),
    ],
    ids=["gd", "gd, stiff", "scalar-rmsprop", "rmsprop"],
)
def test_the_default_stable_flow_is_that_of_fine_runge_kutta_steps(optimizer, least, tolerance):
    """From the same start, by 24 steps of a quarter of the reach. As many Euler steps err by four times the tolerance or more,
    and cannot follow the stiff flow at all."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 10), nn.GELU(), nn.Linear(10, 3)).double()
    inputs = torch.randn(30, 6, generator=torch.Generator().manual_seed(0)).double()
    objective = Objective(network, inputs, torch.arange(30) % 3, mean_squared_error)
    begin = Experiment(objective, optimizer if optimizer.state_names else GradientDescent(0.1), 1, warm_start=10).start

    def losses(stable: Stable) -> tuple[np.ndarray, float]:
        experiment = Experiment(objective, optimizer, 10, begin=begin, stable=stable)
        records = list(experiment.flow("stable"))
        sharpness = max(record.values["effective_eigenvalues"][0] for record in records)
        return np.array([record.values["loss"] for record in records]), sharpness

    fine, sharpness = losses(Stable(method="rk4", substeps=24, substeps_per_sharpness=2.0))
    found, _ = losses(Stable())
    assert sharpness > least
    np.testing.assert_allclose(found, fine, rtol=tolerance)


def test_stages_that_would_not_be_stable_are_refused():
    with pytest.raises(ValueError, match="rkc2 needs substeps_per_sharpness of at least 1/2"):
        Integrator("rkc2", 3)
