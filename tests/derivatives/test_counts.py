"""Work per step, counted and not timed: a regression shows without a clock."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from centralflows import GradientDescent, Objective
from centralflows.config.processes import PUBLISHED_CENTRAL
from centralflows.derivatives.counts import counted
from centralflows.flows.experiment import Experiment

STEPS = 40


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    """A network of 1,059 weights; gradient descent at the edge, from the first step on or soon after."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(20, 24), nn.GELU(), nn.Linear(24, 20), nn.GELU(), nn.Linear(20, 3)).double()
    inputs, labels = torch.randn(60, 20, generator=generator).double(), torch.arange(60) % 3
    targets = nn.functional.one_hot(labels, 3).double()
    objective = Objective(network, inputs, targets, lambda f, y: 0.5 * (f - y).square().sum(-1).mean())
    made = Experiment(objective, GradientDescent(0.4), STEPS, warm_start=150)
    assert made.start.steps == 150  # the start is found here, and not counted below
    return made


def per_step(records, *, reads: bool = False) -> list[tuple[Counter, dict]]:
    """Counts of each step after the first, whose guess is random, with the step's values."""
    found, records = [], iter(records)
    next(records)
    for _ in range(STEPS - 1):
        with counted(reads=reads) as counts:
            record = next(records)
        record = (record[1] or record[0]) if type(record) is tuple else record  # the iterate and its midpoint
        found.append((counts, record.values))
    return found


def mean(counts: list[tuple[Counter, dict]], name: str) -> float:
    return sum(each[name] for each, _ in counts) / len(counts)


def test_the_discrete_run_costs_one_gradient_per_step(experiment):
    assert all(counts == Counter(gradients=1) for counts, _ in per_step(experiment.discrete(midpoints=False)))


def test_midpoints_cost_one_gradient_and_the_eigen_solve(experiment):
    counts = per_step(experiment.discrete())
    assert {(each["gradients"], each["graphs"], each["third"]) for each, _ in counts} == {(1, 1, 0)}


def test_the_central_flow_costs_its_substeps_and_few_third_derivatives(experiment):
    counts = per_step(experiment.flow("central"))
    steady = [(each, values) for each, values in counts[5:] if each["graphs"] == 1]
    assert len(steady) > 0.8 * len(counts[5:])  # elsewhere a mode came or left
    critical = [each for each, values in steady if values["critical_modes"]]
    assert critical
    for each, values in steady:
        k = values["critical_modes"]
        # Three velocities, of which the first uses the gradient of the eigen-solve; nine where the edge is exceeded.
        assert each["gradients"] <= (2 if values["effective_eigenvalues"][0] < 2.02 else 8)
        assert each["third"] in (0, k * (k + 1) // 2) and each["product_graphs"] in (0, k)


def test_the_published_discretisation_evaluates_all_at_every_substep(experiment):
    counts = per_step(replace(experiment, central=PUBLISHED_CENTRAL).flow("central"))
    for each, values in counts:
        k = values["critical_modes"]
        assert each["graphs"] == 4 and each["third"] >= k * (k + 1) // 2


def test_eigenpairs_cost_little_more_than_a_product_each_along_a_flow(experiment):
    counts = per_step(experiment.flow("central"))
    tracked = sum(values["tracked_modes"] for _, values in counts) / len(counts)
    # The guard, at every eighth solve, takes three products and lets the others move; two for each mode are ample.
    assert mean(counts, "products") < 2 * tracked + 2


def test_all_reported_eigenvalues_are_right_to_a_hundred_thousandth(experiment):
    """Against dense algebra. An eigenvalue's error is of the order of the square of its vector's residual."""
    reported = []
    for record in experiment.flow("central"):
        if record.step % 8 == 0:
            values = record.values["effective_eigenvalues"]
            hessian = torch.func.hessian(experiment.objective)(torch.as_tensor(record.weights))
            exact = torch.linalg.eigvalsh(0.4 * hessian).flip(0)[: len(values)]
            reported.append((np.abs(values / exact.numpy() - 1).max(), record.values["eigen_residuals"].max()))
    errors, residuals = np.array(reported).T
    assert errors.max() < 1e-5 and 1e-5 < residuals.max() < 1e-3


def test_the_host_reads_a_bounded_number_of_values(experiment):
    counts = per_step(experiment.discrete(midpoints=False), reads=True)
    assert max(each["reads"] for each, _ in counts) <= 8  # finite weights, loss and gradient; four values of the record
    assert mean(per_step(experiment.discrete(), reads=True), "reads") <= 25
    assert mean(per_step(experiment.flow("central"), reads=True), "reads") <= 42
