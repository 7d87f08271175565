"""Threads change how sums are rounded, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from centralflows.config.run import RunConfig
from centralflows.derivatives.point import Point
from centralflows.flows.device import prepare
from centralflows.flows.experiment import Experiment
from centralflows.flows.make_experiment import make_experiment
from centralflows.problems.data.make_dataset import make_dataset

DATASET = {"name": "cifar10", "examples": 80, "test_examples": 4}


def experiment(**options) -> Experiment:
    run = RunConfig.model_validate({"dataset": DATASET, "dtype": "float64", "steps": 10} | options)
    return make_experiment(run, make_dataset(run.dataset))


def with_threads(count: int, work):
    """What some work returns on so many threads."""
    torch.set_num_threads(count)
    try:
        return work()
    finally:
        torch.set_num_threads(1)


def test_derivatives_agree_across_threads():
    """Sums of up to n = 80 * 1024 terms of mixed sign err by at most n times 1e-16 relative to their absolute sums."""
    made = experiment(model={"name": "cnn", "channels": 8}, optimizer={"name": "gd", "lr": 0.1})
    w = made.initial_weights
    u = torch.randn(2, len(w), generator=torch.Generator().manual_seed(0), dtype=w.dtype).T / len(w) ** 0.5

    def derivatives() -> list[torch.Tensor]:
        point = Point(made.objective, w)
        return [point.loss, point.gradient, point.hessian_product(u), point.curvature_gradients(u)]

    one, two = (with_threads(count, derivatives) for count in (1, 2))
    assert any(not torch.equal(a, b) for a, b in zip(one, two, strict=True))  # else there is nothing to compare
    for a, b in zip(one, two, strict=True):
        assert (a - b).norm() <= 1e-11 * a.norm()


@pytest.mark.parametrize(
    "optimizer", [{"name": "gd", "lr": 0.1}, {"name": "scalar-rmsprop", "lr": 0.01, "beta2": 0.99}]
)
def test_trajectories_agree_across_threads(optimizer):
    """Errors of 1e-11 at most grow along critical modes, by less than 1e2 in so few steps; the eigen-solver, which may stop an
    iteration earlier, leaves eigenvalues to the square of its tolerance, 8e-5, and the central flow with them."""
    made = experiment(model={"name": "mlp", "width": 16}, optimizer=optimizer, warm_start=30)
    one, two = (with_threads(count, lambda: made.run(("discrete", "midpoint", "central"))) for count in (1, 2))
    for process, bound in {"discrete": 1e-9, "midpoint": 1e-9, "central": 1e-6}.items():
        np.testing.assert_allclose(two[process].loss, one[process].loss, rtol=bound, err_msg=process)
        if process != "discrete":
            values = [run[process].effective_eigenvalues.isel(mode=0) for run in (two, one)]
            np.testing.assert_allclose(*values, rtol=1e-6, err_msg=process)


def test_the_threads_of_numpys_blas_are_those_of_the_configuration():
    before = threadpool_limits()
    try:
        prepare("cpu", 1)
        pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
        assert pools and set(pools) == {1}
    finally:
        before.restore_original_limits()
