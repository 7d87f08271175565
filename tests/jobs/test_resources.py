"""What jobs ask for, held against what they were measured to take (docs/cluster.md)."""

from __future__ import annotations

from typing import get_args

import pytest

from centralflows.config.datasets import Kind
from centralflows.config.networks import networks_for
from centralflows.config.run import Process, RunConfig
from centralflows.jobs import resources

CIFAR10 = {"name": "cifar10", "test_examples": 8}
SORTING = {"name": "sorting", "test_examples": 8}

# Peak resident memory [MB] of a job on one core, four modes critical, from first step to fourth.
MEASURED = [
    (CIFAR10 | {"examples": 200}, {"name": "mlp", "width": 32}, 515),
    (CIFAR10 | {"examples": 200}, {"name": "mlp", "width": 512}, 2261),
    (CIFAR10 | {"examples": 200}, {"name": "mlp", "width": 1024}, 3975),
    (CIFAR10 | {"examples": 1000}, {"name": "mlp", "width": 128}, 845),
    (CIFAR10 | {"examples": 20}, {"name": "cnn"}, 1153),
    (CIFAR10 | {"examples": 120}, {"name": "cnn"}, 2455),
    (CIFAR10 | {"examples": 24}, {"name": "resnet", "blocks": [1, 1, 1]}, 1089),
    (CIFAR10 | {"examples": 24}, {"name": "vit", "layers": 2}, 2041),
    (SORTING | {"examples": 400}, {"name": "lstm"}, 1296),
    (SORTING | {"examples": 200}, {"name": "transformer"}, 2141),
    (SORTING | {"examples": 25}, {"name": "mamba"}, 1326),
]


def run_of(dataset: dict, model: dict, **more) -> RunConfig:
    settings = {"optimizer": {"name": "rmsprop", "lr": 1e-3}, "steps": 400, "spectrum": {"minimum": 4}}
    return RunConfig.model_validate({"dataset": dataset, "model": model} | settings | more)


def test_every_process_and_every_network_was_thought_of():
    assert {*get_args(Process), "speeds"} == resources.GRADIENTS.keys()
    assert {name for kind in get_args(Kind) for name in networks_for(kind)} == resources.BYTES.keys()


@pytest.mark.parametrize(("dataset", "model", "measured"), MEASURED)
def test_memory_is_enough_and_not_far_too_much(dataset, model, measured):
    asked = resources.megabytes(run_of(dataset, model), resources.CPU)
    assert 1.2 * measured < asked < 3 * measured


def test_memory_grows_with_precision_and_falls_with_slices():
    cnn = run_of(CIFAR10, {"name": "cnn"})
    single = resources.megabytes(cnn, resources.CPU) - resources.CPU.memory
    double = resources.megabytes(cnn.model_copy(update={"dtype": "float64"}), resources.CPU) - resources.CPU.memory
    assert double == pytest.approx(2 * single, abs=1)
    sliced = resources.megabytes(cnn.model_copy(update={"microbatch_size": 100}), resources.CPU) - resources.CPU.memory
    assert sliced < single / 5
    assert resources.megabytes(cnn, resources.GPU) == resources.GPU.memory


def test_time_is_enough_for_what_the_default_profile_was_measured_to_take():
    mlp = run_of(CIFAR10 | {"examples": 100, "pool": 2}, {"name": "mlp", "width": 16}, steps=300, stationary_every=20)
    # 15 to 30 s, 50 s for 80 steps, and 34 s, on a core shared with other work.
    for process, seconds in (("discrete", 20), ("central", 27), ("stationary", 50 * 300 / 80), ("speeds", 34)):
        beyond_the_start = 60 * (resources.minutes(mlp, process, resources.CPU) - resources.START)
        assert 2 * seconds < beyond_the_start < 100 * seconds


def test_no_job_asks_for_more_than_a_day():
    paper = run_of(CIFAR10, {"name": "resnet"}, steps=3000)
    assert resources.minutes(paper, "central", resources.CPU) == 24 * 60
    assert resources.START < resources.minutes(paper, "discrete", resources.GPU) <= 24 * 60
