"""Runs that are written to disk: what `run` returns, the same bytes however often they were interrupted or continued."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from centralflows import Experiment, GradientDescent, Objective, RMSProp, open_run
from centralflows.common.errors import UnusableData
from centralflows.common.hashing import sha256
from centralflows.jobs.lock import Lock, Locked


def experiment(steps: int = 12, lr: float = 3e-3, seed: int = 0, criterion=None, **options) -> Experiment:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))
    made = Objective(network, torch.randn(20, 6), torch.randn(20, 2), criterion or nn.MSELoss())
    return Experiment(made, RMSProp(lr, 0.95, eps=1e-6), steps, **options)


def files(folder: Path) -> dict[str, str]:
    stores = (
        path for path in folder.rglob("*.zarr/**/*") if path.is_file() and path.relative_to(folder).parts[0][0] != "."
    )
    return {str(path.relative_to(folder)): sha256(path) for path in stores}


@pytest.mark.parametrize("weights_every", [1, 5])
def test_a_saved_run_is_the_run_in_memory(tmp_path, weights_every):
    made = experiment(coordinates=2)
    memory = made.run(weights_every=weights_every)
    returned = made.run(save_to=tmp_path / "run", weights_every=weights_every)
    for found in (returned, open_run(tmp_path / "run")):
        assert found.keys() == memory.keys()
        for process, dataset in memory.items():
            xr.testing.assert_equal(found[process].load(), dataset)
            assert dataset.attrs.items() <= found[process].attrs.items()
            assert {name: each.attrs for name, each in dataset.data_vars.items()} == {
                name: each.attrs for name, each in found[process].data_vars.items()
            }


def test_the_same_run_has_the_same_bytes_also_if_it_was_interrupted_and_continued(tmp_path):
    calls = 0

    def counting(outputs, targets):
        nonlocal calls
        calls += 1
        if calls in (130, 330):
            os.kill(os.getpid(), signal.SIGINT)
        return (outputs - targets).square().mean()

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    interrupted = 0
    for steps in (10, 30):
        while True:
            try:
                experiment(steps, criterion=counting).run(save_to=parts)
                break
            except KeyboardInterrupt:
                interrupted += 1
    assert interrupted == 2
    experiment(30, criterion=counting).run(save_to=whole)
    assert files(parts) == files(whole)


def test_another_run_is_not_written_over(tmp_path):
    experiment(5).run("discrete", save_to=tmp_path)
    before = files(tmp_path)
    for other, named in (
        (experiment(5, lr=4e-3), "settings"),
        (experiment(5, seed=1), "weights, loss, data .torch.manual_seed"),
    ):
        with pytest.raises(UnusableData, match=f"holds a run of other {named}"):
            other.run("discrete", save_to=tmp_path)
    assert files(tmp_path) == before


def test_another_criterion_of_the_same_name_is_another_run(tmp_path):
    first, second = (lambda o, t, scale=scale: scale * (o - t).square().mean() for scale in (1.0, 2.0))
    experiment(3, criterion=first).run("discrete", save_to=tmp_path)
    with pytest.raises(UnusableData, match="holds a run of other loss"):
        experiment(3, criterion=second).run("discrete", save_to=tmp_path)


def test_an_error_that_is_no_divergence_is_not_called_one(tmp_path):
    linear = Objective(nn.Linear(6, 2), torch.randn(20, 6), torch.randn(20, 2), nn.MSELoss())
    found = Experiment(linear, GradientDescent(3.0), 4).run("central", save_to=tmp_path)["central"]
    assert "NotMonotone" in found.attrs["stopped"] and "diverged" not in found.attrs


def test_a_finished_run_is_read_and_a_shorter_one_is_its_beginning(tmp_path):
    long = experiment(12).run("discrete", save_to=tmp_path)["discrete"].load()
    before = files(tmp_path)
    short = experiment(5).run("discrete", save_to=tmp_path)["discrete"].load()
    xr.testing.assert_equal(short, long.isel(step=slice(5), saved_step=slice(5)))
    assert files(tmp_path) == before


def test_processes_can_be_added(tmp_path):
    memory = experiment(6).run()
    for processes in ("midpoint", "central", ("discrete", "stable")):
        experiment(6).run(processes, save_to=tmp_path / str(len(processes)))
    found = experiment(6).run("stable", save_to=tmp_path / "6")
    assert found.keys() == {"stable"}
    np.testing.assert_array_equal(found["stable"].distance, memory["stable"].distance)
    for folder in tmp_path.iterdir():
        for process, dataset in open_run(folder).items():
            np.testing.assert_array_equal(dataset.loss, memory[process].loss)


def test_a_process_that_fails_is_kept_as_far_as_it_came(tmp_path):
    made = experiment(15)
    diverging = Experiment(made.objective, GradientDescent(80.0), 15)
    with pytest.warns(UserWarning):
        memory = diverging.run(("discrete", "stable"))
        found = diverging.run(("discrete", "stable"), save_to=tmp_path)
    assert 0 < memory["discrete"].sizes["step"] < 15
    for process in memory:
        xr.testing.assert_equal(found[process].load(), memory[process])
        assert ("stopped" in found[process].attrs) == ("stopped" in memory[process].attrs)


def test_what_is_no_finished_run_is_said(tmp_path):
    experiment(3).run("discrete", save_to=tmp_path / "run")
    with pytest.raises(UnusableData, match="is one trajectory: open_trajectory"):
        open_run(tmp_path / "run" / "discrete.zarr")
    with pytest.raises(UnusableData, match="does not exist"):
        open_run(tmp_path / "other")
    (tmp_path / "file").touch()
    with pytest.raises(UnusableData, match="is a file; save_to needs a folder"):
        experiment(3).run("discrete", save_to=tmp_path / "file")


def test_one_process_at_a_time_writes_a_run(tmp_path):
    with Lock(tmp_path / "run"), pytest.raises(Locked, match="is writing this output"):
        experiment(3).run("discrete", save_to=tmp_path)
    assert not list(tmp_path.glob("*.zarr"))
