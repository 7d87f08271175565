"""Where runs start and end: stored states, crossings, levels of the loss, limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from centralflows import Experiment, GradientDescent, Objective, RMSProp, ScalarRMSProp
from centralflows.analysis.crossings import first_not_above, upward_crossing
from centralflows.config import profile
from centralflows.config.processes import StableConfig
from centralflows.flows.discrete_loop import advance, first_start
from centralflows.flows.make_experiment import make_experiment
from centralflows.flows.starts import start_of
from centralflows.jobs.checkpoint import CheckpointFolder
from centralflows.jobs.store_trajectories import store_discrete, store_flow
from centralflows.problems.data.make_dataset import make_dataset
from centralflows.store.trajectory import open_trajectory

OPTIMIZERS = [GradientDescent(0.1), ScalarRMSProp(0.01, 0.9, bias_correction=True), RMSProp(1e-3, 0.9, eps=1e-6)]


def experiment(optimizer, steps=9, **options) -> Experiment:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2))
    objective = Objective(network, torch.randn(20, 4), torch.randn(20, 2), lambda f, y: (f - y).square().sum(-1).mean())
    return Experiment(objective, optimizer, steps, **options)


def stored(tmp_path, made, **options):
    paths = tmp_path / "discrete.zarr", tmp_path / "midpoint.zarr"
    stride = options.pop("weights_stride", 1)
    with CheckpointFolder(paths[0], {}) as checkpoints:
        store_discrete(made, *paths, weights_stride=stride, attrs={}, checkpoints=checkpoints)
    return paths[0]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("stride", [1, 4])
def test_a_state_comes_back_from_a_store_and_goes_on_as_if_nothing_had_been(tmp_path, optimizer, stride):
    made = experiment(optimizer)
    path = stored(tmp_path, made, weights_stride=stride)
    kept = start_of(path, optimizer, 6)
    assert kept.steps == 6 // stride * stride
    again = replace(made, start_from=advance(made.objective, optimizer, kept, 6 - kept.steps), steps=3)
    whole, rest = made.run("discrete")["discrete"], again.run("discrete")["discrete"]
    np.testing.assert_array_equal(whole.weights[6:], rest.weights)
    for name in optimizer.state_names:
        np.testing.assert_array_equal(whole[name][6:], rest[name])


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_stored_flow_is_the_flow_in_memory(tmp_path, optimizer):
    """Flows start from the store of the discrete run, warm start included."""
    made = experiment(optimizer, warm_start=3)
    path = stored(tmp_path, made)
    target = tmp_path / "central.zarr"
    with CheckpointFolder(target, {}) as checkpoints:
        store_flow(made, "central", target, discrete=path, weights_stride=1, attrs={}, checkpoints=checkpoints)
    found, expected = open_trajectory(tmp_path / "central.zarr"), made.run("central")["central"]
    np.testing.assert_array_equal(found.weights, expected.weights)
    np.testing.assert_array_equal(found.distance, expected.distance)


@pytest.mark.parametrize("rule", [ScalarRMSProp, RMSProp])
def test_the_step_sizes_can_be_kept_instead_of_the_state(rule):
    made = experiment(rule(0.01, 0.9, eps=1e-3, bias_correction=True))
    begin = advance(
        made.objective, made.optimizer, first_start(made.objective, made.optimizer, made.initial_weights), 5
    )
    step = torch.tensor(6.0, dtype=torch.float64)
    kept = made.optimizer.preconditioner(step, begin.state)
    other = rule(0.02, 0.99, eps=1e-3, bias_correction=True)
    torch.testing.assert_close(other.preconditioner(step, other.state_with(step, kept)), kept)
    with pytest.raises(ValueError, match="no average has this preconditioner"):
        rule(1e-9, 0.9, eps=1.0).state_with(step, kept)


def test_runs_at_several_learning_rates_share_a_warm_start():
    rates = {lr: profile.load(configured(lr)).runs["mine"] for lr in (0.1, 0.2)}
    data = make_dataset(rates[0.1].dataset)
    slow, fast = (make_experiment(run, data).start for run in rates.values())
    plain = make_experiment(rates[0.1].model_copy(update={"warm_start_lr": None}), data).start
    assert slow.steps == fast.steps == 5
    assert torch.equal(slow.w, fast.w) and torch.equal(slow.state[0], fast.state[0])
    assert not torch.equal(slow.w, plain.w)


def configured(lr):
    run = {
        "dataset": {"name": "moons", "examples": 20, "test_examples": 4},
        "model": {"name": "mlp", "width": 4},
        "optimizer": {"name": "scalar-rmsprop", "lr": lr},
        "steps": 3,
        "warm_start": 5,
        "warm_start_lr": 0.01,
    }
    return {"profile": "test", "runs": {"mine": run}, "figures": {}}


def test_every_process_ends_at_its_own_loss():
    made = experiment(GradientDescent(0.05), 40)
    whole = made.run(("discrete", "central"))
    level = float(whole["discrete"].loss[20])
    ended = replace(made, stop_at_loss=level).run(("discrete", "midpoint", "central"))
    for process, dataset in ended.items():
        assert dataset.sizes["step"] == ended["discrete"].sizes["step"] == 21 or process == "central"
        assert "reached" in dataset.attrs["stopped"]
    assert float(ended["central"].loss[-1]) <= level < float(ended["central"].loss[-2])


def test_a_unit_of_time_that_costs_too_much_ends_the_flow():
    made = experiment(GradientDescent(0.1), 5, stable=StableConfig(method="dopri5", rtol=1e-12, stop_at_evaluations=7))
    stable = made.run("stable")["stable"]
    assert "takes more than 7 evaluations" in stable.attrs["stopped"]


def test_an_adaptive_method_is_as_accurate_as_it_is_told():
    """Against Euler's limit by fine steps of the classical Runge-Kutta method, whose error is below 1e-10."""
    runs = {}
    for name, options in {
        "fine": {"method": "rk4", "substeps": 20},
        "loose": {"method": "dopri5", "rtol": 1e-3, "atol": 1e-5},
        "tight": {"method": "dopri5", "rtol": 1e-8, "atol": 1e-10},
        "bosh3": {"method": "bosh3", "rtol": 1e-8, "atol": 1e-10},
    }.items():
        made = experiment(GradientDescent(0.2), 8, stable=StableConfig(**options))
        made = replace(made, objective=made.objective.to(dtype=torch.float64), initial_weights=None)
        runs[name] = made.run("stable")["stable"].weights.values[-1]
    size = np.linalg.norm(runs["fine"])
    errors = {name: np.linalg.norm(w - runs["fine"]) / size for name, w in runs.items()}
    assert errors["tight"] < 1e-7 and errors["bosh3"] < 1e-5 and errors["tight"] < errors["loose"] < 1e-2


def test_crossings_and_levels_are_found():
    import xarray as xr

    values = xr.DataArray([1.0, 2.5, 1.9, 2.0, 2.1, 1.0, 3.0], coords={"step": np.arange(7)}, dims="step")
    assert [upward_crossing(values, n) for n in (1, 2, 3, 4)] == [1, 3, 6, None]
    assert first_not_above(values, 1.9) == 0 and first_not_above(values[1:], 1.9) == 2
    assert first_not_above(values, 0.5) is None
    assert upward_crossing(values[1:], 1) == 3  # above from the start is no crossing


RUN = {"dataset": {"name": "cifar10"}, "model": {"name": "mlp"}, "optimizer": {"name": "gd", "lr": 0.1}, "steps": 5}


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ({"a": {"start": {"run": "b", "step": 1}}}, r"runs\.a\.start\.run: no run is called 'b'"),
        ({"a": {"start": {"run": "a", "step": 1}}}, r"runs\.a\.start\.run: 'a' would wait for itself"),
        (
            {"a": {"start": {"run": "b", "step": 1}}, "b": {"start": {"run": "a", "step": 1}}},
            r"runs\.a\.start\.run: 'a' would wait for itself",
        ),
        ({"a": {}, "b": {"start": {"run": "a"}}}, r"runs\.b\.start\.run: give one of step, crossing and loss"),
        ({"a": {}, "b": {"start": {"run": "a", "step": 5}}}, r"runs\.b\.start\.step: must be below the steps of 'a'"),
        ({"a": {}, "b": {"start": {"run": "a", "loss": 1.0}, "dtype": "float64"}}, "'a' has another dtype"),
    ],
)
def test_impossible_starts_are_refused(runs, message):
    with pytest.raises(profile.ConfigError, match=message):
        profile.load({"profile": "x", "runs": {name: RUN | run for name, run in runs.items()}})
