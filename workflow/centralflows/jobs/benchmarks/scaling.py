"""How the cost of third derivatives grows: time against p, n and k, memory against p and the size of slices."""

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
    """Seconds of third derivatives of k vectors, and of a gradient, against p, n and k, on an MLP."""

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
    """Peak memory of third derivatives against p and microbatch size, where the system tells it."""
    if device.type == "cpu" and not _FORGET.exists():
        return []
    return [
        {"width": width, "p": p, "microbatch_size": size, "mib": mib}
        for width in (32, 128, 512)
        for size in (1000, 250, 50)
        for p, mib in [peak_memory(device, width, size)]
    ]


def peak_memory(device: torch.device, width: int, microbatch_size: int) -> tuple[int, float]:
    """p, and peak memory [MiB] of third derivatives of 3 vectors on an MLP with 1,000 examples; on a CPU in a process
    of its own."""
    if device.type == "cuda":  # its allocator can forget a peak
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
        _FORGET.write_text("5")  # the peak of the imports
    before = _peak(device)
    point = DerivativeEvaluator(made.objective).at(made.initial_weights)
    point.curvature_gradients(_directions(made, 3))
    return made.objective.p, round((_peak(device) - before) / 2**20, 1)


def _peak(device: torch.device) -> int:
    """Peak memory [bytes]: of the GPU's allocator, or resident of this process (`resource` would start from the parent's)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])
