"""Scaling of the cost of third derivatives: time against p, n and k, memory against p and the microbatch size."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from ...common.paths import REPOSITORY
from ...derivatives.evaluator import DerivativeEvaluator
from ...flows.experiment import Experiment
from .benchmark_runs import experiment, gradient_time, timed


def growth(device: torch.device) -> dict[str, list[dict[str, float]]]:
    """Return the times [ms] of a gradient, and of Hessian products and third derivatives of k vectors.

    They are measured on an MLP, against p, n and k.
    """

    def measured(width: int, examples: int, k: int) -> dict[str, float]:
        changes = {"dataset": {"examples": examples}, "model": {"width": width}}
        made = experiment("mlp 32, gd", device, warm_start=0, **changes)
        point = DerivativeEvaluator(made.objective).at(made.initial_weights)
        vectors = _directions(made, k)
        third = [timed(lambda: point.curvature_gradients(vectors), device) for _ in range(5)]
        products = [timed(lambda: point.hessian_product(vectors), device) for _ in range(5)]
        return {
            "p": made.objective.p,
            "n": examples,
            "k": k,
            "gradient_ms": 1e3 * gradient_time(made, 7),
            "products_ms": 1e3 * float(np.median(products)),
            "third_ms": 1e3 * float(np.median(third)),
        }

    return {
        "p": [measured(width, 200, 3) for width in (16, 32, 64, 128)],
        "n": [measured(32, examples, 3) for examples in (100, 200, 400, 800)],
        "k": [measured(32, 200, k) for k in (1, 2, 3, 4, 6)],
    }


def _directions(made: Experiment, k: int) -> torch.Tensor:
    p, generator = made.objective.p, torch.Generator().manual_seed(0)
    return (torch.randn(k, p, generator=generator) / p**0.5).to(made.initial_weights).T


def memory(device: torch.device) -> list[dict[str, float]]:
    """Return the peak memory of third derivatives against p and microbatch size, if the system reports it."""
    if device.type == "cpu" and not _FORGET.exists():
        return []
    return [
        {"width": width, "p": p, "microbatch_size": size, "mib": mib}
        for width in (32, 128, 512)
        for size in (1000, 250, 50)
        for p, mib in [peak_memory(device, width, size)]
    ]


def peak_memory(device: torch.device, width: int, microbatch_size: int) -> tuple[int, float]:
    """Return p, and the peak memory [MiB] of third derivatives of 3 vectors on an MLP with 1,000 examples.

    On a CPU it is measured in a separate process.
    """
    if device.type == "cuda":  # its allocator can reset the peak
        return _memory(device, width, microbatch_size)
    arguments = f"torch.device({device.type!r}), {width}, {microbatch_size}"
    code = f"import torch; from centralflows.jobs.benchmarks.scaling import _memory; print(*_memory({arguments}))"
    paths = os.pathsep.join(filter(None, [str(REPOSITORY / "workflow"), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": paths}
    )
    p, mib = done.stdout.split()
    return int(p), float(mib)


_FORGET = Path("/proc/self/clear_refs")


def _memory(device: torch.device, width: int, microbatch_size: int) -> tuple[int, float]:
    torch.set_num_threads(1)
    changes = {"dataset": {"examples": 1000}, "model": {"width": width}}
    made = experiment("mlp 32, gd", device, warm_start=0, microbatch_size=microbatch_size, **changes)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        _FORGET.write_text("5")  # resets the peak, which is that of the imports
    before = _peak(device)
    point = DerivativeEvaluator(made.objective).at(made.initial_weights)
    point.curvature_gradients(_directions(made, 3))
    return made.objective.p, round((_peak(device) - before) / 2**20, 1)


def _peak(device: torch.device) -> int:
    """Return the peak memory [bytes]: of the GPU's allocator, or the resident memory of this process.

    `resource` would start from the peak of the parent process.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])
