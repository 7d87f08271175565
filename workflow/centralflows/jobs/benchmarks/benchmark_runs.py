"""The runs of the benchmark, and its clock.

CNN, LSTM, ViT and ResNet have the sizes of the paper, with few examples on a CPU, and with as many as in the paper on a
GPU. The MLPs are small.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ...config.run import RunConfig
from ...derivatives.point import value_and_gradient
from ...flows.experiment import Experiment
from ...flows.make_experiment import make_experiment
from ...problems.data.make_dataset import make_dataset

CIFAR = {"name": "cifar10", "test_examples": 4}
EARLY = {"bias_correction": False, "beta2": 0.99}
RUNS: dict[str, dict[str, Any]] = {
    "mlp 32, gd": {
        "dataset": CIFAR | {"examples": 200},
        "model": {"name": "mlp", "width": 32},
        "optimizer": {"name": "gd", "lr": 0.1},
        "warm_start": 10,
        "steps": 60,
    },
    "mlp 32, gd, small lr": {
        "dataset": CIFAR | {"examples": 200},
        "model": {"name": "mlp", "width": 32},
        "optimizer": {"name": "gd", "lr": 0.05},
        "steps": 60,
    },
    "mlp 16, scalar": {
        "dataset": CIFAR | {"examples": 100},
        "model": {"name": "mlp", "width": 16},
        "optimizer": {"name": "scalar-rmsprop", "lr": 0.02} | EARLY,
        "warm_start": 20,
        "steps": 50,
    },
    "mlp 16, rmsprop": {
        "dataset": CIFAR | {"examples": 100},
        "model": {"name": "mlp", "width": 16},
        "optimizer": {"name": "rmsprop", "lr": 1e-4} | EARLY,
        "warm_start": 20,
        "steps": 50,
    },
    "lstm": {
        "dataset": {"name": "sorting", "examples": 40, "test_examples": 4},
        "model": {"name": "lstm"},
        "optimizer": {"name": "gd", "lr": 0.4},
        "warm_start": 60,
        "steps": 12,
    },
    "cnn": {
        "dataset": CIFAR | {"examples": 20},
        "model": {"name": "cnn"},
        "optimizer": {"name": "gd", "lr": 0.05},
        "warm_start": 150,
        "steps": 12,
    },
    "vit": {
        "dataset": CIFAR | {"examples": 16},
        "model": {"name": "vit"},
        "optimizer": {"name": "gd", "lr": 0.05},
        "warm_start": 12,
        "steps": 8,
    },
    "resnet": {
        "dataset": CIFAR | {"examples": 4},
        "model": {"name": "resnet"},
        "optimizer": {"name": "gd", "lr": 0.05},
        "warm_start": 10,
        "steps": 8,
    },
}
FASTER = {"mlp 32, gd": 5.0, "mlp 16, rmsprop": 15.0, "cnn": 30.0}
"""Multiples of the learning rate that take the stable flow of a run to, or towards, an effective sharpness of 100."""

PAPER = {"examples": 1000}
ON_GPU: dict[str, dict[str, Any]] = {
    "lstm": {"dataset": PAPER, "warm_start": 300},
    "cnn": {"dataset": PAPER, "warm_start": 300},
    "vit": {"dataset": PAPER, "steps": 6},
    "resnet": {"dataset": PAPER, "warm_start": 300},
}
"""Changes of the runs on a GPU."""


def experiment(name: str, device: torch.device, **changes: Any) -> Experiment:
    """Return the experiment of one of `RUNS` on a device; mappings among the changes are merged key by key."""
    run: dict[str, Any] = {"outputs": 0, **RUNS[name]}
    for more in (ON_GPU.get(name, {}) if device.type == "cuda" else {}, changes):
        run |= {key: run.get(key, {}) | value if isinstance(value, dict) else value for key, value in more.items()}
    settings = RunConfig.model_validate(run)
    return make_experiment(settings, make_dataset(settings.dataset), device)


def faster(made: Experiment, factor: float) -> Experiment:
    """Return an experiment with a multiple of its learning rate."""
    return replace(made, optimizer=replace(made.optimizer, lr=factor * made.optimizer.lr))


def clock(device: torch.device) -> float:
    """Return the time [s]: on a CPU that of the processor, on a GPU the wall time after all work is finished.

    Other jobs disturb the time of the processor less than the wall time.
    """
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def timed(work: Callable[[], Any], device: torch.device) -> float:
    started = clock(device)
    work()
    return clock(device) - started


def gradient_time(made: Experiment, repeats: int = 3) -> float:
    """Return the time of one full-batch gradient [s], the median of a few."""
    w = made.initial_weights
    return float(np.median([timed(lambda: value_and_gradient(made.objective, w), w.device) for _ in range(repeats)]))
