"""Cost of each process in gradient equivalents: the time of a step over that of a full-batch gradient, interleaved.

`make benchmark` measures; `cost_tables` makes the tables and the figure.
"""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...analysis.time_series import analyse
from ...common.errors import Stopped, UserError
from ...derivatives.counts import counted
from ...figures.drawing import draw
from ...figures.style import save
from ...flows.experiment import Experiment
from ...provenance import environment
from ...store.zarr_writer import Writer
from .benchmark_runs import FASTER, RUNS, clock, experiment, faster, gradient_time, timed
from .scaling import growth, memory
from .textbook_flow import textbook_step

PROCESSES = ("discrete", "midpoint", "stable", "central")


def process_cost(made: Experiment, process: str) -> dict[str, Any]:
    """Return the median cost of a step in gradient equivalents and its derivatives, by the number of critical modes."""
    discrete = process in ("discrete", "midpoint")
    records = iter(made.discrete(midpoints=process == "midpoint") if discrete else made.flow(process))
    steps, gradients, sharpness, found, device = [], [], [], {}, made.initial_weights.device
    with counted() as counts:
        while True:
            before, started = dict(counts), clock(device)
            try:
                record = next(records)
            except StopIteration:
                break
            except (UserError, Stopped) as error:  # the stable flow stops when it is too stiff
                found["stopped"] = str(error)
                break
            elapsed = clock(device) - started
            taken = {name: counts[name] - before.get(name, 0) for name in counts}
            values = (record[process == "midpoint"] if discrete else record).values
            steps.append((elapsed, int(values.get("critical_modes", 0)), taken, int(values.get("tracked_modes", 0))))
            gradients.append(gradient_time(made))
            if process == "stable":
                sharpness.append(float(values["effective_eigenvalues"][0]))
    steps = steps[1:]  # the first step solves from a random guess
    unit = float(np.median(gradients)) if gradients else np.nan
    for k in sorted({step[1] for step in steps}):
        chosen = [step for step in steps if step[1] == k]
        found[str(k)] = {
            "steps": len(chosen),
            "gradient_equivalents": round(float(np.median([step[0] for step in chosen])) / unit, 2),
            "tracked_modes": round(float(np.mean([step[3] for step in chosen])), 2),
            **{name: round(float(np.mean([step[2].get(name, 0) for step in chosen])), 2) for name in counts},
        }
    if sharpness:
        found["sharpness"] = [round(min(sharpness), 1), round(max(sharpness), 1)]
    return found | {"gradient_ms": round(1e3 * unit, 3)}


def textbook(made: Experiment, modes: int) -> float:
    """Return the gradient equivalents of one step of the textbook central flow from the start, with `modes` modes."""
    seconds = timed(lambda: textbook_step(made, modes), made.initial_weights.device)
    return round(seconds / gradient_time(made), 1)


def store_share(made: Experiment) -> float:
    """Return the fraction of a cheap central flow's time that writing its store takes, with weights of all steps."""
    started, writing = time.perf_counter(), 0.0
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(Path(folder) / "growing.zarr", made.shape("central"), {})
        for record in made.flow("central"):
            before = time.perf_counter()
            writer.append(record)
            writing += time.perf_counter() - before
        before = time.perf_counter()
        writer.publish(Path(folder) / "central.zarr", first_step=1)
        writing += time.perf_counter() - before
    return round(writing / (time.perf_counter() - started), 4)


def stages(made: Experiment) -> dict[str, float]:
    """Return the times [s] of the stages after the trajectories of a run: its analysis, and a figure as SVG and PNG."""
    trajectories = made.run()
    started = time.perf_counter()
    analyse(trajectories, width=12.0)
    analysed = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        drawn = draw("gd-central-flow", {"run": trajectories})
        for kind in ("svg", "png"):
            save(drawn, Path(folder) / f"figure.{kind}")
    done = time.perf_counter()
    return {"steps": made.steps, "analysis": round(analysed - started, 3), "figure": round(done - analysed, 3)}


def measure(device: torch.device, names: Iterable[str] = RUNS, log: Any = None) -> dict[str, Any]:
    """Return all measurements, with the machine that they were made on."""
    found: dict[str, Any] = {"machine": machine(device), "processes": {}, "textbook": {}}
    for name in names:
        made = experiment(name, device)
        begun = replace(made, start_from=made.start, warm_start=0)
        examples = len(made.objective.inputs)
        found["processes"][name] = {"p": made.objective.p, "n": examples}
        for process in PROCESSES:
            found["processes"][name][process] = process_cost(begun, process)
            print(name, process, found["processes"][name][process], file=log)
        if name in FASTER:
            stiff = process_cost(faster(begun, FASTER[name]), "stable")
            found["processes"][name][f"stable, {FASTER[name]:g} lr"] = stiff
        modes = max([1, *(int(k) for k in found["processes"][name]["central"] if k.isdigit())])
        found["textbook"][name] = {"modes": modes, "gradient_equivalents": textbook(begun, modes)}
    found["store_share"] = store_share(experiment("mlp 32, gd, small lr", device, steps=400))
    found["stages"] = stages(experiment("mlp 32, gd, small lr", device, outputs=1))
    found["growth"] = growth(device)
    found["memory"] = memory(device)
    return found


def machine(device: torch.device) -> dict[str, Any]:
    gpu = device.type == "cuda"
    return {
        "platform": platform.platform(),
        "processor": environment.processor(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "cuda": torch.version.cuda if gpu else None,
        "versions": {name: version(name) for name in ("torch", "numpy", "torchdiffeq", "clarabel")},
    }
