"""Cost of each process in gradient equivalents: its time per step over that of one full-batch gradient, interleaved.

`make benchmark` measures; `benchmark_report` has the tables and the figure.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import data, schema
from .baseline import textbook_step
from .cost import counted
from .derivatives import Points, value_and_gradient
from .errors import UserError
from .experiment import Experiment, build
from .trajectory import Writer

ROOT = Path(__file__).parents[2]

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
        "dataset": CIFAR | {"examples": 4},
        "model": {"name": "vit"},
        "optimizer": {"name": "gd", "lr": 0.05},
        "warm_start": 20,
        "steps": 10,
    },
    "resnet": {
        "dataset": CIFAR | {"examples": 4},
        "model": {"name": "resnet"},
        "optimizer": {"name": "gd", "lr": 0.05},
        "warm_start": 10,
        "steps": 8,
    },
}
PROCESSES = ("discrete", "midpoint", "stable", "central")


def experiment(run: dict[str, Any], **changes: Any) -> Experiment:
    settings = schema.Run.model_validate({"outputs": 0, **run, **changes})
    return build(settings, data.build(settings.dataset))


def gradient_time(made: Experiment, repeats: int = 3) -> float:
    """Seconds of one full-batch gradient, the median of a few."""
    return float(
        np.median([timed(lambda: value_and_gradient(made.objective, made.initial_weights)) for _ in range(repeats)])
    )


def timed(work: Callable[[], Any]) -> float:
    """Seconds of processor time, which other jobs on the machine disturb less than the clock."""
    started = time.process_time()
    work()
    return time.process_time() - started


def process_cost(made: Experiment, process: str) -> dict[str, Any]:
    """Median cost of a step in gradient equivalents, by the number of critical modes, and the derivatives it takes."""
    discrete = process in ("discrete", "midpoint")
    records = iter(made.discrete(midpoints=process == "midpoint") if discrete else made.flow(process))
    steps, gradients, found = [], [], {}
    with counted() as counts:
        while True:
            before, started = dict(counts), time.process_time()
            try:
                record = next(records)
            except StopIteration:
                break
            except UserError as error:  # the stable flow ends where it is too stiff
                found["stopped"] = str(error)
                break
            elapsed = time.process_time() - started
            taken = {name: counts[name] - before.get(name, 0) for name in counts}
            values = (record[process == "midpoint"] if discrete else record).values
            steps.append((elapsed, int(values.get("critical_modes", 0)), taken, int(values.get("tracked_modes", 0))))
            gradients.append(gradient_time(made))
    steps = steps[1:]  # the first solves from a random guess
    unit = float(np.median(gradients)) if gradients else np.nan
    for k in sorted({step[1] for step in steps}):
        chosen = [step for step in steps if step[1] == k]
        found[str(k)] = {
            "steps": len(chosen),
            "gradient_equivalents": round(float(np.median([step[0] for step in chosen])) / unit, 2),
            "tracked_modes": round(float(np.mean([step[3] for step in chosen])), 2),
            **{name: round(float(np.mean([step[2].get(name, 0) for step in chosen])), 2) for name in counts},
        }
    return found | {"gradient_ms": round(1e3 * unit, 3)}


def textbook(made: Experiment, modes: int) -> float:
    """Gradient equivalents of one step of the straightforward central flow from the start, with so many modes."""
    seconds = timed(lambda: textbook_step(made, modes))
    return round(seconds / gradient_time(made), 1)


def store_share(made: Experiment) -> float:
    """Part of the time of a central flow that writing its store takes."""
    started, writing = time.perf_counter(), 0.0
    with (
        tempfile.TemporaryDirectory() as folder,
        Writer(Path(folder) / "central.zarr", made.shape("central"), {}) as writer,
    ):
        for record in made.flow("central"):
            before = time.perf_counter()
            writer.append(record)
            writing += time.perf_counter() - before
        before = time.perf_counter()
        writer.publish(first_step=1)
        writing += time.perf_counter() - before
    return round(writing / (time.perf_counter() - started), 4)


def growth() -> dict[str, list[dict[str, float]]]:
    """Seconds of third derivatives of k vectors, and of a gradient, against p, n and k, on an MLP."""

    def measured(width: int, examples: int, k: int) -> dict[str, float]:
        run = RUNS["mlp 32, gd"] | {"dataset": CIFAR | {"examples": examples}, "model": {"name": "mlp", "width": width}}
        made = experiment(run, warm_start=0)
        point = Points(made.objective).at(made.initial_weights)
        vectors = torch.randn(k, len(point.w), generator=torch.Generator().manual_seed(0)).T / len(point.w) ** 0.5
        milliseconds = [1e3 * timed(lambda: point.curvature_gradients(vectors)) for _ in range(5)]
        products = [1e3 * timed(lambda: point.hessian_product(vectors)) for _ in range(5)]
        return {
            "p": len(point.w),
            "n": examples,
            "k": k,
            "gradient_ms": 1e3 * gradient_time(made, 7),
            "products_ms": float(np.median(products)),
            "third_ms": float(np.median(milliseconds)),
        }

    return {
        "p": [measured(width, 200, 3) for width in (16, 32, 64, 128)],
        "n": [measured(32, examples, 3) for examples in (100, 200, 400, 800)],
        "k": [measured(32, 200, k) for k in (1, 2, 3, 4, 6)],
    }


def peak_memory(width: int, chunk_size: int) -> float:
    """Peak memory [MiB] of third derivatives of 3 vectors on an MLP with 1,000 examples, in a process of its own."""
    code = f"from centralflows.benchmark import _memory; print(_memory({width}, {chunk_size}))"
    paths = os.pathsep.join(filter(None, [str(ROOT / "workflow"), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": paths}
    )
    return float(done.stdout)


def _memory(width: int, chunk_size: int) -> float:
    torch.set_num_threads(1)
    run = RUNS["mlp 32, gd"] | {"dataset": CIFAR | {"examples": 1000}, "model": {"name": "mlp", "width": width}}
    made = experiment(run, warm_start=0, chunk_size=chunk_size)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the imports
    before = _peak()
    point = Points(made.objective).at(made.initial_weights)
    point.curvature_gradients(torch.randn(3, len(point.w)).T)
    return round((_peak() - before) / 1024, 1)


def _peak() -> int:
    """Peak resident memory of this process [KiB]; that of `resource` would start from the parent's."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])


def measure(runs: dict[str, dict[str, Any]] = RUNS, log: Any = None) -> dict[str, Any]:
    """Everything, with the machine it was measured on."""
    found: dict[str, Any] = {"machine": machine(), "processes": {}, "textbook": {}}
    for name, run in runs.items():
        made = experiment(run)
        begun = replace(made, begin=made.start, warm_start=0)
        found["processes"][name] = {"p": made.objective.p}
        for process in PROCESSES:
            found["processes"][name][process] = process_cost(begun, process)
            print(name, process, found["processes"][name][process], file=log)
        modes = max([1, *(int(k) for k in found["processes"][name]["central"] if k.isdigit())])
        found["textbook"][name] = {"modes": modes, "gradient_equivalents": textbook(begun, modes)}
    found["store_share"] = store_share(experiment(RUNS["mlp 32, gd, small lr"]))
    found["growth"] = growth()
    found["memory"] = (
        []
        if not Path("/proc/self/clear_refs").exists()
        else [
            {"width": width, "chunk_size": size, "mib": peak_memory(width, size)}
            for width in (32, 128)
            for size in (1000, 250, 50)
        ]
    )
    return found


def machine() -> dict[str, Any]:
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "device": "cpu",
        "versions": {name: version(name) for name in ("torch", "numpy", "torchdiffeq", "clarabel")},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())
