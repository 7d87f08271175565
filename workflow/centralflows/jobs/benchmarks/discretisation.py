"""Errors of the flows' discretisations against fine solutions of the same flows, and their tables in the manual.

`snakemake --cores 1 discretisation` measures, which takes some minutes;
`python -m centralflows.jobs.benchmarks.discretisation` writes the tables to `docs/numerics.md`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from ...common.paths import REPOSITORY
from ...config.processes import PUBLISHED_CENTRAL, PUBLISHED_STABLE, CentralConfig, StableConfig
from ...derivatives.counts import counted
from ...derivatives.eigen_tracker import EigenTracker
from ...derivatives.evaluator import DerivativeEvaluator
from ...flows.central_flow import CentralFlow
from ...flows.experiment import Experiment
from ...flows.flow import Frame
from ...flows.input_subspace import subspace_of
from . import manual_tables
from .benchmark_runs import FASTER, experiment, faster

MEASURED = REPOSITORY / "results" / "discretisation.json"
MANUAL = REPOSITORY / "docs" / "numerics.md"

CENTRAL_RUNS = {"mlp 32, gd, small lr": 100, "mlp 32, gd": 60, "mlp 16, scalar": 80, "mlp 16, rmsprop": 80}  # steps
CENTRAL = {
    "published: Euler, 4, fresh": PUBLISHED_CENTRAL,
    "jameson3, 1, fresh": CentralConfig(third_derivatives="fresh"),
    "heun2, 1, followed": CentralConfig(method="heun2"),
    "heun2, 2, followed": CentralConfig(method="heun2", substeps=2),
    "heun3, 1, followed": CentralConfig(method="heun3"),
    "default: jameson3, 1, followed": CentralConfig(),
    "jameson3, 2, followed": CentralConfig(substeps=2),
}
STABLE_RUNS = {  # run of the benchmark, steps, and multiple of its learning rate
    "mlp 32, gd": ("mlp 32, gd", 60, 1.0),
    "mlp 32, gd, 5 times lr": ("mlp 32, gd", 20, FASTER["mlp 32, gd"]),
    "mlp 16, scalar": ("mlp 16, scalar", 50, 1.0),
    "mlp 16, rmsprop": ("mlp 16, rmsprop", 50, 1.0),
    "mlp 16, rmsprop, 15 times lr": ("mlp 16, rmsprop", 20, FASTER["mlp 16, rmsprop"]),
}
STABLE = {
    "published: Euler, 2 per sharpness": PUBLISHED_STABLE,
    "Heun, 3/5 per sharpness": StableConfig(method="heun2"),
    "rkc2, tolerance 0.1": StableConfig(tolerance=0.1),
    "default: rkc2, 0.03": StableConfig(),
    "rkc2, 0.01": StableConfig(tolerance=0.01),
}
FINE_STABLE = StableConfig(method="rk4", substeps=8, substeps_per_sharpness=2)
LIMITS = {"stop_at_sharpness": 1e6, "stop_at_evaluations": 10**6}


def fine_losses(made: Experiment, count: int = 8) -> Float[ndarray, " steps"]:
    """Return the losses along the central flow in float64, by Heun's method with `count` steps per unit of time.

    The relaxation time is one step. Eigenpairs and third derivatives are evaluated at every velocity.
    """
    whole, start, step = made.objective.to(dtype=torch.float64), made.start, 1.0 / count
    subspace = subspace_of(whole, made.optimizer, start.w.double())
    evaluator = DerivativeEvaluator(subspace.objective)
    flow = CentralFlow(evaluator, made.optimizer, start.first_step, relaxation_time=step, held_slack="full")
    tracker, losses = EigenTracker(tolerance=1e-6), []

    def velocity(time: float, w: torch.Tensor, state: tuple) -> tuple:
        spectrum = tracker.update(evaluator.at(w), flow.preconditioner(time, w, state))
        return flow.velocity(time, w, state, Frame(spectrum.values, spectrum.vectors))

    w, state = subspace.coordinates(start.w.double()), tuple(part.double() for part in start.state)
    for i in range(made.steps * count):
        if i % count == 0:
            losses.append(evaluator.at(w).loss.item())
        dw, ds, _ = velocity(i * step, w, state)
        ahead = tuple(s + step * d for s, d in zip(state, ds, strict=True))
        dw_ahead, ds_ahead, _ = velocity((i + 1) * step, w + step * dw, ahead)
        w = w + step / 2 * (dw + dw_ahead)
        state = tuple(s + step / 2 * (a + b) for s, a, b in zip(state, ds, ds_ahead, strict=True))
    return np.array(losses)


def central_errors(name: str, steps: int) -> dict[str, list[float]]:
    """Return the largest and mean relative error of the loss along the central flow, by discretisation.

    Under `missed` is the number of steps at which the default misses the fine solution by more than 1e-3 and the
    published discretisation does not.
    """
    made = experiment(name, torch.device("cpu"), steps=steps)
    exact = fine_losses(made)
    errors = {label: _errors(replace(made, central=central), "central", exact)[0] for label, central in CENTRAL.items()}
    published, default = errors["published: Euler, 4, fresh"], errors["default: jameson3, 1, followed"]
    return {label: _summary(each) for label, each in errors.items()} | {
        "missed": [int(((default > 1e-3) & (published <= 1e-3)).sum())]
    }


def stable_errors(name: str, steps: int, factor: float) -> dict[str, list[float]]:
    """Return the largest and mean error of the loss along the stable flow, and gradients per step, by discretisation.

    Errors are relative. Under `sharpness` are the smallest and the largest effective sharpness.
    """
    made = experiment(name, torch.device("cpu"), steps=steps)
    made = faster(replace(made, start_from=made.start, warm_start=0), factor)

    def limited(stable: StableConfig) -> Experiment:
        return replace(made, stable=stable.model_copy(update=LIMITS))

    records = list(limited(FINE_STABLE).flow("stable"))
    exact = np.array([record.values["loss"] for record in records])
    sharpness = [float(record.values["effective_eigenvalues"][0]) for record in records]
    found: dict[str, list[float]] = {"sharpness": [round(min(sharpness), 1), round(max(sharpness), 1)]}
    for label, stable in STABLE.items():
        errors, gradients = _errors(limited(stable), "stable", exact)
        found[label] = [*_summary(errors), round(gradients, 1)]
    return found


def _errors(made: Experiment, process: str, exact: Float[ndarray, " steps"]) -> tuple[Float[ndarray, " steps"], float]:
    """Return the relative errors of the loss at each step, and the gradients per step."""
    records = made.flow(process)  # finds the start and the input subspace, which is not counted
    with counted() as counts:
        losses = [record.values["loss"] for record in islice(records, len(exact))]
    return np.abs(np.array(losses) / exact - 1), (counts["gradients"] + counts["graphs"]) / len(exact)


def _summary(errors: Float[ndarray, " steps"]) -> list[float]:
    return [float(f"{value:.2g}") for value in (errors.max(), errors.mean())]


def measure() -> dict[str, Any]:
    """Return the measurements of both tables."""
    return {
        "central": {name: central_errors(name, steps) for name, steps in CENTRAL_RUNS.items()},
        "stable": {name: stable_errors(*how) for name, how in STABLE_RUNS.items()},
    }


def tables(measured: Mapping[str, Any]) -> str:
    """Return the tables as Markdown, runs by discretisations."""
    missed = sum(found["missed"][0] for found in measured["central"].values())
    return "\n".join(
        [
            *_table("central flow", measured["central"], CENTRAL, lambda name, found: name),
            "",
            f"Steps at which the default misses the fine solution by more than 1e-3 and the published does not: {missed}.",
            "",
            *_table(
                "stable flow",
                measured["stable"],
                STABLE,
                lambda name, found: "{} (sharpness {:g} to {:g})".format(name, *found["sharpness"]),
            ),
        ]
    )


def _table(head: str, found: Mapping[str, Any], columns: Mapping[str, Any], shown: Any) -> Iterator[str]:
    yield f"| {head} | {' | '.join(columns)} |"
    yield "| --- " * (len(columns) + 1) + "|"
    for name, errors in found.items():
        cells = []
        for label in columns:
            largest, mean, *gradients = errors[label]
            counts = "".join(f"; {each:g}" for each in gradients)
            cells.append(f"{largest:.1e}, {mean:.1e}".replace("e-0", "e-") + counts)
        yield f"| {shown(name, errors)} | {' | '.join(cells)} |"


if __name__ == "__main__":
    manual_tables.put(MANUAL, "discretisation", tables(json.loads(MEASURED.read_text())))
