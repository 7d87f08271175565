"""On a GPU: the same trajectories as on a CPU within rounding, the same bytes twice, microbatches that fit the memory."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from centralflows.config.processes import PUBLISHED_CENTRAL
from centralflows.config.run import RunConfig
from centralflows.derivatives.cuda_graphs import CudaGraphPoint
from centralflows.derivatives.evaluator import AdaptivePoint, DerivativeEvaluator
from centralflows.derivatives.point import Point, value_and_gradient
from centralflows.flows.device import prepare
from centralflows.flows.make_experiment import make_experiment
from centralflows.problems.data.make_dataset import make_dataset
from centralflows.problems.objective import Objective

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, and torch finds none"),
]
PROCESSES = ("discrete", "midpoint", "stable", "central")
OPTIMIZERS = {
    "gd": {"name": "gd", "lr": 0.1},
    "scalar-rmsprop": {"name": "scalar-rmsprop", "lr": 0.01, "beta2": 0.99, "bias_correction": False},
    "rmsprop": {"name": "rmsprop", "lr": 1e-4, "beta2": 0.99, "bias_correction": False},
}
NETWORKS = {
    "mlp": ({"name": "mlp", "width": 16}, {"name": "cifar10", "examples": 100, "test_examples": 4}),
    "cnn": ({"name": "cnn", "channels": 4}, {"name": "cifar10", "examples": 40, "test_examples": 4, "pool": 2}),
    "resnet": ({"name": "resnet", "width": 4}, {"name": "cifar10", "examples": 40, "test_examples": 4, "pool": 2}),
    "vit": ({"name": "vit", "width": 16, "layers": 2}, {"name": "cifar10", "examples": 40, "test_examples": 4}),
    "lstm": ({"name": "lstm", "width": 16}, {"name": "sorting", "examples": 40, "test_examples": 4}),
    "transformer": ({"name": "transformer", "width": 16}, {"name": "sorting", "examples": 40, "test_examples": 4}),
    "mamba": ({"name": "mamba", "width": 16}, {"name": "copying", "examples": 40, "test_examples": 4}),
}


def experiment(device: str, network: str = "mlp", optimizer: str = "gd", steps: int = 60, dtype: str = "float64"):
    model, dataset = NETWORKS[network]
    run = RunConfig.model_validate(
        {"model": model, "dataset": dataset, "optimizer": OPTIMIZERS[optimizer], "steps": steps, "dtype": dtype}
        | ({} if optimizer == "gd" else {"warm_start": 20})
    )
    return make_experiment(run, make_dataset(run.dataset), prepare(device, threads=1))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_trajectories_are_those_of_a_cpu(optimizer):
    """In float64 rounding differs by 1e-16; along a flow it stays small, and oscillations let it grow."""
    cpu, gpu = (experiment(device, optimizer=optimizer).run(PROCESSES) for device in ("cpu", "cuda"))
    assert gpu["central"].critical_modes.max() > 0
    for process in PROCESSES:
        for name in ("loss", "gradient_norm_squared", "step_size", "outputs"):
            found, expected = gpu[process][name].values, cpu[process][name].values
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7, err_msg=f"{process}, {name}")
    # Eigenvalues err by the square of the solver's residual, 8e-5, over the relative gap.
    values = [run["central"].effective_eigenvalues.isel(mode=0) for run in (gpu, cpu)]
    np.testing.assert_allclose(*values, rtol=1e-5)


@pytest.mark.parametrize("network", NETWORKS)
def test_derivatives_are_those_of_a_cpu(network):
    found = []
    for device in ("cpu", "cuda"):
        objective: Objective = experiment(device, network, steps=1).objective
        point = DerivativeEvaluator(objective).at(objective.initial_weights)
        generator = torch.Generator().manual_seed(0)
        u = torch.randn(objective.p, 2, generator=generator, dtype=torch.float64).to(objective.initial_weights)
        derivatives = (point.loss, point.gradient, point.hessian_product(u), point.curvature_gradients(u))
        found.append([each.cpu() for each in derivatives])
    for cpu, gpu in zip(*found, strict=True):
        assert (gpu - cpu).norm() <= 1e-9 * cpu.norm()  # sums of at most 1e4 terms, some of them cancelling


@pytest.mark.parametrize("network", NETWORKS)
def test_replays_are_what_was_recorded_at_any_weights(network):
    objective = experiment("cuda", network, steps=1).objective
    points, w = DerivativeEvaluator(objective), objective.initial_weights
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(objective.p, 3, generator=generator, dtype=torch.float64).to(w)
    others = [w, 1.1 * w, 0.9 * w]
    made = [AdaptivePoint(points, other) for other in others]
    assert isinstance(made[0]._point, CudaGraphPoint)
    for other, point in [*zip(others, made, strict=True), (others[1], made[1]), (others[0], made[0])]:
        exact = Point(objective, other)
        for columns in (1, 3, 2):
            u = vectors[:, :columns]
            for name in ("hessian_product", "curvature_gradients"):
                torch.testing.assert_close(getattr(point, name)(u), getattr(exact, name)(u), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close((point.loss, point.gradient), (exact.loss, exact.gradient), rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(points.value_and_gradient(1.2 * other), value_and_gradient(objective, 1.2 * other))
    assert points._graphs is not None


def test_a_replay_does_not_wait_for_the_device():
    objective = experiment("cuda", "lstm", steps=1).objective
    points, w = DerivativeEvaluator(objective), objective.initial_weights
    u = torch.ones(objective.p, 2, dtype=torch.float64, device="cuda")

    def derivatives(point):
        return point.hessian_product(u), point.curvature_gradients(u)

    derivatives(AdaptivePoint(points, w))  # recorded here
    torch.cuda.set_sync_debug_mode("error")
    try:
        derivatives(AdaptivePoint(points, 1.1 * w))
    finally:
        torch.cuda.set_sync_debug_mode("default")


class Waiting(torch.nn.Module):
    """Asks the device for a number in the middle of its forward pass."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(8, 4)

    def forward(self, x):
        y = self.layer(x)
        return torch.tanh(y) if y.detach().sum().item() < 1e9 else y


def test_what_cannot_be_recorded_is_evaluated_as_usual():
    torch.manual_seed(0)
    inputs, targets = torch.randn(50, 8), torch.randn(50, 4)
    found = []
    for device in ("cpu", "cuda"):
        made = Objective(Waiting(), inputs, targets, torch.nn.functional.mse_loss).to(device, torch.float64)
        points = DerivativeEvaluator(made)
        with nullcontext() if device == "cpu" else pytest.warns(UserWarning, match="without CUDA graphs"):
            point = points.at(made.initial_weights)
        u = torch.ones(made.p, 2, dtype=torch.float64, device=device)
        found.append([each.cpu() for each in (point.loss, point.gradient, point.hessian_product(u))])
        assert points._graphs is None
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_same_run_gives_the_same_bytes(network):
    first, second = (
        experiment("cuda", network, steps=8, dtype="float32").run(("discrete", "midpoint", "central")) for _ in "ab"
    )
    for process, dataset in first.items():
        assert dataset.equals(second[process]), process


def test_slices_are_halved_until_they_fit():
    made = experiment("cuda", "cnn", dtype="float32")
    # Two gigabytes of examples; a graph of the whole does not fit into a part of the memory that holds a few times that.
    objective = made.objective
    many = objective.inputs.repeat(2000, 1, 1, 1), objective.targets.repeat(2000, *[1] * (objective.targets.ndim - 1))
    whole = Objective(objective.network, *many, objective.criterion)
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(4 * 2**30 / total)
    try:
        with pytest.warns(UserWarning, match="out of memory with microbatches of"):
            point = DerivativeEvaluator(whole).at(whole.initial_weights)
            u = torch.ones(whole.p, 1, device="cuda") / whole.p**0.5
            third = point.curvature_gradients(u)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert whole.microbatch_size < len(many[0])
    few = DerivativeEvaluator(objective).at(objective.initial_weights)  # the same mean
    loss, gradient = value_and_gradient(objective, objective.initial_weights)
    torch.testing.assert_close((point.loss, point.gradient), (loss, gradient), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(third, few.curvature_gradients(u), rtol=1e-3, atol=1e-5)


def test_a_flow_in_float32_is_that_of_float64():
    """Two solutions of one equation: rounding of 1e-7 over sixty steps at the edge."""
    double, single = (experiment("cuda", dtype=dtype).run(("discrete", "central")) for dtype in ("float64", "float32"))
    np.testing.assert_allclose(single["central"].loss, double["central"].loss, rtol=1e-3)


def test_the_published_discretisation_runs():
    made = replace(experiment("cuda", steps=20), central=PUBLISHED_CENTRAL)
    assert np.isfinite(made.run(("discrete", "central"))["central"].predicted_loss).all()
