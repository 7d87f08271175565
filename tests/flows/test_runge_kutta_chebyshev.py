"""Stabilised steps: order, stability and damping, against closed forms; and the stable flow by them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from centralflows import Experiment, GradientDescent, Objective, RMSProp, ScalarRMSProp
from centralflows.config.processes import PUBLISHED_STABLE, StableConfig
from centralflows.derivatives.counts import counted
from centralflows.flows.integrators import make_integrator
from centralflows.flows.runge_kutta_chebyshev import chebyshev_step, moved, scheme, stages_for, step_error
from centralflows.problems.criteria import mean_squared_error


def amplification(stages: int, products: np.ndarray) -> np.ndarray:
    """What a step makes of y' = -lambda y, for products of step and lambda."""
    rates = torch.from_numpy(products)
    (move,) = chebyshev_step(lambda t, y: (-rates * y[0],), 0.0, (torch.ones_like(rates),), (-rates,), 1.0, stages)
    return 1 + move.numpy()


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

        def velocity(t: float, y: tuple) -> tuple:
            return (-y[0] + np.cos(t),)

        for i in range(count):
            y = moved(y, chebyshev_step(velocity, i * step, y, velocity(i * step, y), step, stages))
        return abs(y[0].item() - (np.exp(-1) + np.cos(1) + np.sin(1)) / 2)

    errors = [error(count) for count in (16, 32, 64)]
    assert errors[0] < 2e-3
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 4, rtol=0.05)


def test_stages_are_the_fewest_that_reach_far_enough():
    for stiffness in (0.1, 1.0, 3.0, 30.0, 150.0):
        stages = stages_for(stiffness)
        assert scheme(stages).reach >= stiffness and (stages == 2 or scheme(stages - 1).reach < stiffness)
    assert stages_for(150.0) == 17  # a unit of time at an effective sharpness of 100, which may grow by half
    assert stages_for(-1.0) == stages_for(0.0) == 2  # a largest eigenvalue may be negative


@pytest.mark.parametrize(
    ("optimizer", "least", "tolerance"),
    [
        (GradientDescent(1.0), 1.5, 5e-4),
        (GradientDescent(10.0), 30.0, 1e-3),
        (ScalarRMSProp(0.1, 0.95), 1.0, 2.5e-5),
        (RMSProp(3e-3, 0.95, eps=1e-4), 1.0, 5e-5),
    ],
    ids=["gd", "gd, stiff", "scalar-rmsprop", "rmsprop"],
)
def test_the_default_stable_flow_is_that_of_fine_runge_kutta_steps(optimizer, least, tolerance):
    """From the same start, by 24 steps of a quarter of the reach; Euler as published errs by four tolerances or more."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 10), nn.GELU(), nn.Linear(10, 3)).double()
    inputs = torch.randn(30, 6, generator=torch.Generator().manual_seed(0)).double()
    objective = Objective(network, inputs, torch.arange(30) % 3, mean_squared_error)
    begin = Experiment(objective, optimizer if optimizer.state_names else GradientDescent(0.1), 1, warm_start=10).start

    def losses(stable: StableConfig) -> tuple[np.ndarray, float]:
        experiment = Experiment(objective, optimizer, 10, start_from=begin, stable=stable)
        records = list(experiment.flow("stable"))
        sharpness = max(record.values["effective_eigenvalues"][0] for record in records)
        return np.array([record.values["loss"] for record in records]), sharpness

    fine, sharpness = losses(StableConfig(method="rk4", substeps=24, substeps_per_sharpness=2.0))
    found, _ = losses(StableConfig())
    assert sharpness > least
    np.testing.assert_allclose(found, fine, rtol=tolerance)
    assert np.abs(losses(PUBLISHED_STABLE)[0] / fine - 1).max() > 4 * tolerance


def test_the_error_of_a_step_is_seen_and_grows_with_its_square():
    """On y' = -y it is that of the step and h^3/12 of the trapezoidal rule, which are of the same order and sign."""
    y = (torch.ones(1, dtype=torch.float64),)
    errors = []
    for step in (0.2, 0.1):
        (move,) = chebyshev_step(lambda t, y: (-y[0],), 0.0, y, (-y[0],), step, 5)
        errors.append(step_error(move, -y[0], -(y[0] + move), step))
        true = abs(1 + move.item() - np.exp(-step)) / abs(move.item())
        np.testing.assert_allclose(errors[-1], true + step**2 / 12, rtol=0.15)
    np.testing.assert_allclose(errors[0] / errors[1], 4, rtol=0.05)
    assert step_error(torch.zeros(2), torch.zeros(2), torch.zeros(2), 0.5) == 0.0


@pytest.mark.parametrize(("lr", "sharpness"), [(10.0, 50.0), (20.0, 150.0)])
def test_a_flow_whose_sharpness_grows_fast_is_followed_better_than_as_published(lr, sharpness):
    """It more than doubles within units of time here, beyond what the stages of a step allow for."""
    torch.manual_seed(0)
    inputs, targets = torch.randn(60, 6).double(), torch.randn(60, 2).double()
    network = nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 2)).double()
    objective = Objective(network, inputs, targets, lambda y, t: 0.5 * (y - t).square().sum(-1).mean())

    def losses(stable: StableConfig) -> tuple[np.ndarray, float]:
        limits = {"stop_at_sharpness": 1e6, "stop_at_evaluations": 10**6}
        experiment = Experiment(objective, GradientDescent(lr), 8, stable=stable.model_copy(update=limits))
        records = [record.values for record in experiment.flow("stable")]
        return np.array([values["loss"] for values in records]), records[-1]["effective_eigenvalues"][0]

    fine, reached = losses(StableConfig(method="rk4", substeps=60, substeps_per_sharpness=2))
    errors = [np.abs(losses(stable)[0] / fine - 1).max() for stable in (StableConfig(), PUBLISHED_STABLE)]
    assert reached > sharpness / 3
    assert errors[0] < errors[1]


@pytest.mark.parametrize("lr", [0.5, 5.0, 30.0])
def test_a_flow_that_stands_at_its_minimum_in_float32_costs_no_short_steps(lr):
    """There the last bits of the weights change the gradient by as much as itself."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(20, 6, generator=generator)
    for targets in (torch.randn(20, 2, generator=generator), inputs[:, :2]):
        torch.manual_seed(0)
        objective = Objective(nn.Linear(6, 2), inputs, targets, lambda y, t: 0.5 * (y - t).square().sum(-1).mean())
        made = Experiment(objective, GradientDescent(lr), 120 if lr < 1 else 40)
        with counted() as counts:
            paces = [record.values["step_parts"] for record in made.flow("stable")]
        assert max(paces[-10:]) == 1
        assert counts["gradients"] / made.steps < 25


def test_a_state_that_forgets_faster_than_a_step_is_followed():
    """Its rate, (1 - beta2) / beta2 = 19, is that of the stiffest direction, and no effective eigenvalue tells of it."""
    objective = Objective(
        nn.Sequential(nn.Linear(6, 10), nn.GELU(), nn.Linear(10, 3)).double(),
        torch.randn(30, 6, generator=torch.Generator().manual_seed(0)).double(),
        torch.arange(30) % 3,
        mean_squared_error,
    )

    def losses(stable: StableConfig) -> list[float]:
        made = Experiment(objective, ScalarRMSProp(0.1, 0.05), 10, warm_start=5, stable=stable)
        return [record.values["loss"] for record in made.flow("stable")]

    np.testing.assert_allclose(losses(StableConfig()), losses(StableConfig(method="rk4", substeps=100)), rtol=1e-3)


def test_a_flow_is_followed_where_every_direction_falls():
    """The largest eigenvalue is negative: L = log(1 + w^2) far from its minimum."""

    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([3.0], dtype=torch.float64))

        def forward(self, x):
            return self.w.expand(len(x), 1)

    objective = Objective(One(), torch.ones(3, 1), torch.zeros(3, 1), lambda o, t: torch.log1p(o.square()).mean())
    (found,) = Experiment(objective, GradientDescent(0.1), 5).run("stable").values()
    assert (found.effective_eigenvalues < 0).all()
    # dw/dt = -0.1 * 2w / (1 + w^2): log(w) + w^2/2 falls by 0.2 per unit of time.
    w = found.weights.values[:, 0]
    np.testing.assert_allclose(np.diff(np.log(w) + w**2 / 2), -0.2, rtol=2e-4)


def test_stages_that_would_not_be_stable_are_refused():
    with pytest.raises(ValueError, match="rkc2 needs substeps_per_sharpness of at least 1/2"):
        make_integrator("rkc2", 0.3)
