"""The paper's claims, measured in every run of a profile.

A claim is about a run, or about runs that differ in their learning rate alone. If a number depends on time averages, it
is also measured at half and twice the configured width. A verdict that changes with the width is undecided. A run with
fewer than three cycles at the edge of stability is not scored: its averages are chance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from .claims import CLAIMS, CYCLES, LARGER_LR, Claim, Estimate, Run, at_edge, cycles
from .published_values import compared
from .run_settings import setting
from .time_series import time_average


def scorecard(
    runs: Mapping[str, Run],
    widths: Mapping[str, float],
    published: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None,
    figures: Mapping[str, tuple[str, Sequence[str]]] | None = None,
) -> dict[str, Any]:
    """Return all claims for all runs, as plain data for JSON.

    Args:
        runs: trajectories of each run by process.
        widths: of the time averages, for each run [steps].
        published: numbers read from the published plots: `runs`, by run and claim, and `figures`, by figure and quantity.
        figures: of the profile: by name, the name in the catalogue and the names of the runs.
    """
    published, figures = published or {}, figures or {}
    shown = {name: (slug, [runs[run] for run in names]) for name, (slug, names) in figures.items()}
    counted = {name: cycles(run) for name, run in runs.items()}
    scored = {name: run for name, run in runs.items() if counted[name] >= CYCLES}
    return {
        "estimator": "Gaussian time average over optimizer steps; its standard deviation is the run's width",
        "claims": {name: _described(claim) for name, claim in CLAIMS.items()} | {"larger-lr": _described(LARGER_LR)},
        "runs": {
            name: _measured(run, widths[name], published.get("runs", {}).get(name, {})) for name, run in scored.items()
        },
        "cycles": counted,
        "unscored": [name for name in runs if name not in scored],
        "learning_rates": learning_rates(scored),
        "crossings": {name: crossings(run["speeds"]) for name, run in runs.items() if "speeds" in run},
        "published_values": compared(published.get("figures", {}), shown),
        "misses": {name: found for name, run in runs.items() if (found := misses(run, widths[name]))},
        "stopped": {
            name: stops
            for name, run in runs.items()
            if (stops := {p: s.attrs["stopped"] for p, s in run.items() if "stopped" in s.attrs})
        },
        "diverged": {
            name: min(steps)
            for name, run in runs.items()
            if (steps := [int(store.attrs["diverged"]) for store in run.values() if "diverged" in store.attrs])
        },
    }


def _described(claim: Claim) -> dict[str, Any]:
    return {
        "statement": claim.statement,
        "number": claim.number,
        "relation": claim.relation,
        "threshold": claim.threshold,
        "averaged": claim.averaged,
    }


def _measured(run: Run, width: float, published: Mapping[str, float]) -> dict[str, Any]:
    """Return the claims that apply to a run, measured."""
    found: dict[str, Any] = {}
    for name, claim in CLAIMS.items():
        measured = [claim.measure(run, width)]
        if claim.averaged:
            measured += [claim.measure(run, factor * width) for factor in (0.5, 2.0)]
        values = [m.value if isinstance(m, Estimate) else m for m in measured]
        if values[0] is None or not np.isfinite(values[0]):
            continue
        known = [m for m, value in zip(measured, values, strict=True) if value is not None and np.isfinite(value)]
        entry: dict[str, Any] = {"value": values[0], "verdict": claim.verdict(*known)}
        if (threshold := claim.threshold_for(measured[0])) != claim.threshold:
            entry["threshold"] = threshold
        if claim.averaged:
            others = [value for value in values[1:] if value is not None and np.isfinite(value)]
            entry |= {"width": width, "at_half_and_twice_the_width": others}
        if name in published:
            entry["published"] = published[name]
        found[name] = entry
    return found


def learning_rates(runs: Mapping[str, Run]) -> list[dict[str, Any]]:
    """Return the claim about learning rates, for each group of runs that differ in nothing else."""
    groups: dict[str, list[tuple[float, str]]] = {}
    for name, run in runs.items():
        settings = setting(run)
        if not settings or not np.isfinite(run["midpoint"].hessian_eigenvalues).any():
            continue
        optimizer = dict(settings["optimizer"])
        lr = optimizer.pop("lr")
        kept = {key: settings.get(key) for key in ("dataset", "model", "criterion", "seed", "start", "stop_at_loss")}
        groups.setdefault(json.dumps([optimizer, kept], sort_keys=True), []).append((lr, name))
    cards = []
    for members in groups.values():
        members = sorted(dict(reversed(members)).items())  # one run for each learning rate, the first
        edges = [at_edge(runs[name]) for _, name in members]
        if len(members) < 2 or any(edge is None for edge in edges):
            continue
        # The loss at the midpoints, because that of the iterates is full of spikes.
        losses = [runs[name]["midpoint"].loss.dropna("step") for _, name in members]
        level = max(float(loss.min()) for loss in losses)
        steps = [int(loss.step[int(np.argmax(loss.values <= level))]) for loss in losses]
        # For RMSProp, the eigenvalues of the Hessian itself are measured at some steps only.
        known = [runs[name]["midpoint"].hessian_eigenvalues.isel(mode=0).dropna("step") for _, name in members]
        sharpness = [float(s.sel(step=step, method="nearest")) for s, step in zip(known, steps, strict=True)]
        right = np.diff(sharpness) < 0
        cards.append(
            {
                "runs": [name for _, name in members],
                "learning_rates": [lr for lr, _ in members],
                "loss": level,
                "sharpness": sharpness,
                "value": float(right.mean()),
                "verdict": LARGER_LR.verdict(float(right.mean())),
            }
        )
    return cards


def crossings(speeds: xr.Dataset) -> list[int]:
    """Return the steps at which the order of the stationary preconditioner and gradient descent in speed changes."""
    ahead = (speeds.speed_stationary > speeds.speed_gradient_descent).values
    return [int(step) for step in speeds.step.values[1:][ahead[1:] != ahead[:-1]]]


def misses(run: Run, width: float, *, share: float = 0.2) -> list[dict[str, float | int]]:
    """Return the failures of the central flow.

    They are intervals in which the time-averaged loss exceeds the prediction by more than a share of it.

    Returns:
        For each interval, the step of the largest excess, the excess relative to the prediction, and the length
        [steps].
    """
    if "central" not in run:
        return []
    excess = time_average(run["discrete"].loss, width=width) / run["central"].predicted_loss - 1
    over = np.concatenate([[False], (excess > share).values, [False]]).astype(int)
    starts, stops = np.flatnonzero(np.diff(over) == 1), np.flatnonzero(np.diff(over) == -1)
    found = []
    for start, stop in zip(starts, stops, strict=True):
        part = excess[start:stop]
        found.append(
            {"step": int(part.step[part.values.argmax()]), "excess": float(part.max()), "length": int(stop - start)}
        )
    return found
