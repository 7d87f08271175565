"""Runs that go on from a trajectory, processes that fail alone, and what is said before and of a run."""

from __future__ import annotations

import os
import signal
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from centralflows import Experiment, GradientDescent, Objective, Optimizer, RMSProp, ScalarRMSProp, open_run
from centralflows.common.errors import UnusableData
from centralflows.derivatives.derivative_check import NotSmooth, NotSmoothWarning

OPTIMIZERS = [GradientDescent(0.1), ScalarRMSProp(0.01, 0.9, bias_correction=True), RMSProp(1e-3, 0.9, eps=1e-6)]


def mlp(activation=nn.Tanh) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), activation(), nn.Linear(8, 2))


def objective(activation=nn.Tanh, **options) -> Objective:
    network = mlp(activation)
    return Objective(network, torch.randn(20, 6), torch.randn(20, 2), nn.MSELoss(), **options)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("stored", [False, True])
def test_the_discrete_run_goes_on_as_if_nothing_had_been(optimizer, stored, tmp_path):
    made = Experiment(objective(), optimizer, 20, warm_start=2)
    whole = made.run("discrete")["discrete"]
    first = made.run("discrete", steps=12, save_to=tmp_path if stored else None)["discrete"]
    start = tmp_path / "discrete.zarr" if stored else first
    rest = made.run("discrete", steps=9, start=start)["discrete"]
    np.testing.assert_array_equal(rest.weights, whole.weights[11:])
    for name in optimizer.state_names:
        np.testing.assert_array_equal(rest[name], whole[name][11:])
    assert rest.attrs["first_step"] == 2 + 11 + 1


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_flow_goes_on_from_its_own_state(optimizer):
    """The spectrum is solved anew from another guess, to residuals of 1e-4, and flows hold frames for a unit of time."""
    made = Experiment(objective(), optimizer, 20)
    for process in ("stable", "central"):
        whole, first = made.run(process)[process], made.run(process, steps=12)[process]
        rest = made.run(process, steps=9, start=first)[process]
        np.testing.assert_allclose(rest.loss, whole.loss[11:], rtol=1e-3)
        np.testing.assert_array_equal(rest.weights[0], whole.weights[11])


def test_a_start_must_hold_the_state():
    found = Experiment(objective(), GradientDescent(0.1), 3).run("discrete")["discrete"]
    with pytest.raises(UnusableData, match="cannot start from this trajectory, which holds no nu"):
        Experiment(objective(), RMSProp(0.01, 0.9), 3).run(start=found)
    for wrong, said in (
        ("nowhere", "is no store of a trajectory"),
        (found.isel(saved_step=slice(1)), "holds only the weights of its first; weights_every=1"),
    ):
        with pytest.raises(UnusableData, match=said):
            Experiment(objective(), GradientDescent(0.1), 3).run(start=wrong)
    with pytest.warns(
        UserWarning, match="the run starts at step 1, the last whose weights were kept, and not at step 2"
    ):
        Experiment(objective(), GradientDescent(0.1), 3).run("discrete", start=found.isel(saved_step=slice(2)))
    with pytest.raises(ValueError, match="the start must have 4 weights"):
        Experiment(
            Objective(nn.Linear(3, 1), torch.ones(2, 3), torch.ones(2, 1), nn.MSELoss()), GradientDescent(0.1), 3
        ).run(start=found)


def test_one_failure_loses_nothing():
    with pytest.warns(UserWarning, match="ended early: Diverged"):
        found = Experiment(objective(), GradientDescent(40.0), 25).run(["discrete", "stable"])
    assert "not finite" in found["discrete"].attrs["stopped"]
    assert 0 < found["discrete"].sizes["step"] < 25
    assert found["discrete"].attrs["diverged"] == found["discrete"].sizes["step"]
    assert found["stable"].sizes["step"] > 0  # it may grow too stiff in the end
    linear = Objective(nn.Linear(6, 2), torch.randn(20, 6), torch.randn(20, 2), nn.MSELoss())
    with pytest.warns(UserWarning, match="ended early: NotMonotone"):
        found = Experiment(linear, GradientDescent(3.0), 8).run()
    assert "NotMonotone" in found["central"].attrs["stopped"] and found["central"].sizes["step"] == 0
    assert found["discrete"].sizes["step"] == found["stable"].sizes["step"] == 8


def test_an_interrupt_ends_the_run_and_keeps_what_was_found():
    calls = 0

    def criterion(outputs, targets):
        nonlocal calls
        calls += 1
        if calls == 250:
            os.kill(os.getpid(), signal.SIGINT)
        return (outputs - targets).square().mean()

    made = Objective(mlp(), torch.randn(20, 6), torch.randn(20, 2), criterion)
    with pytest.warns(UserWarning, match="ended early: interrupted at step"):
        found = Experiment(made, GradientDescent(0.1), 200).run(["discrete", "stable"])
    (last,) = [dataset for dataset in found.values() if "stopped" in dataset.attrs]
    assert last.attrs["stopped"] == f"interrupted at step {last.sizes['step']}"


def test_flows_alone_are_still_compared_with_the_optimizer():
    made = Experiment(objective(), GradientDescent(0.3), 6)
    both, alone = made.run(["discrete", "stable"]), made.run("stable", weights_every=0)
    assert alone.keys() == {"stable"}
    np.testing.assert_array_equal(alone["stable"].distance, both["stable"].distance)
    assert alone["stable"].sizes["saved_step"] == 1


def test_weights_that_would_fill_the_memory_are_not_kept(monkeypatch):
    monkeypatch.setattr("centralflows.flows.in_memory.IN_MEMORY", 1000)
    with pytest.warns(UserWarning, match=r"GiB of memory; only those of the first step are kept"):
        found = Experiment(objective(), GradientDescent(0.1), 6).run()
    assert all(dataset.sizes["saved_step"] == 1 and dataset.sizes["step"] == 6 for dataset in found.values())


def test_a_start_far_beyond_the_edge_is_warned_of_with_the_rate_that_would_be_stable():
    made = objective()
    sharpness = float(Experiment(made, GradientDescent(1.0), 1).run("midpoint")["midpoint"].effective_eigenvalues[0, 0])
    lr = 8 / sharpness
    with pytest.warns(UserWarning, match=r"sharpness at the start is 8, .*0\.25 times the learning rate .*warm_start="):
        Experiment(made, GradientDescent(lr), 1).run("central")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Experiment(made, GradientDescent(lr / 8), 1).run("central")


@pytest.mark.parametrize("check", ["warn", "refuse", "off"])
def test_a_loss_with_kinks_is_warned_of_refused_or_run_in_silence(check):
    experiment = Experiment(objective(nn.ReLU), GradientDescent(0.1), 2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if check == "refuse":
            with pytest.raises(NotSmooth, match="relu in ReLU '1'"):
                experiment.run("discrete", check=check)
        else:
            experiment.run("discrete", check=check)
    assert [w.category for w in caught] == ([NotSmoothWarning] if check == "warn" else [])


@pytest.mark.parametrize("make", [nn.ReLU, nn.LeakyReLU, nn.ELU, nn.PReLU, nn.Hardtanh, nn.Hardswish])
def test_kinks_are_known_by_type_whatever_the_weights(make):
    for seed in range(5):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(6, 8), make(), nn.Linear(8, 2))
        made = Objective(network, torch.randn(20, 6), torch.randn(20, 2), nn.MSELoss())
        with pytest.warns(NotSmoothWarning):
            Experiment(made, GradientDescent(0.1), 1).check()


def test_dtype_and_precision_of_a_run():
    torch.backends.cudnn.allow_tf32 = True
    found = Experiment(objective(), GradientDescent(0.1), 4, dtype=torch.float64).run()
    assert torch.backends.cudnn.allow_tf32
    reference = Experiment(objective().to(dtype=torch.float64), GradientDescent(0.1), 4).run()
    for process, dataset in found.items():
        assert dataset.weights.dtype == np.float64
        np.testing.assert_array_equal(dataset.loss, reference[process].loss)


def test_trajectories_say_what_they_are(tmp_path):
    class Own(RMSProp):
        state_names = ("momentary",)
        state_units = ()

    runs = {optimizer: Experiment(objective(), optimizer, 3).run("discrete")["discrete"] for optimizer in OPTIMIZERS}
    assert [run.attrs["optimizer_name"] for run in runs.values()] == ["GradientDescent", "ScalarRMSProp", "RMSProp"]
    assert [run.attrs["learning_rate"] for run in runs.values()] == [0.1, 0.01, 1e-3]
    assert [run.attrs["isotropic"] for run in runs.values()] == [1, 1, 0]
    nu = runs[OPTIMIZERS[2]]
    assert nu.nu.attrs["units"] == nu.state_total.attrs["units"] == "loss^2 / weight^2"
    own = Experiment(objective(), Own(1e-3, 0.9), 3).run("discrete", save_to=tmp_path)["discrete"]
    assert own.attrs["optimizer_name"] == "Own"
    for found in (own, open_run(tmp_path)["discrete"]):
        assert "momentary" in found.state_total.attrs["long_name"] and found.momentary.attrs["units"] == "1"
        assert found.state_total.attrs["units"] == "1"
    scheduled = Experiment(objective(), GradientDescent(lambda step: 0.1 / step), 3).run("discrete")["discrete"]
    assert scheduled.attrs["learning_rate"] == "schedule"


def test_learning_rates_are_validated_when_given():
    for make in (lambda: GradientDescent(-0.1), lambda: RMSProp(0.0, 0.9), lambda: ScalarRMSProp(float("nan"), 0.9)):
        with pytest.raises(ValueError, match="learning rate must be a positive number"):
            make()
    assert isinstance(GradientDescent(0.1), Optimizer)
