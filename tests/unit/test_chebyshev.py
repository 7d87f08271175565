"""Stabilised steps: order, stability and damping, against closed forms; and the stable flow by them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from centralflows.chebyshev import chebyshev_step, scheme, stages_for


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
    assert np.abs(inside[np.linspace(0, reach, 4001) > 0.6 * reach]).max() < 0.75
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
