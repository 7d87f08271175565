"""The paper's figures in numbers, beside the same numbers of a profile's own runs.

Networks, data and numbers of steps differ, so all numbers are dimensionless: a sharpness is relative to its edge, a
distance to another distance, a loss to another loss. The paper's numbers, by figure and by a sentence that says what is
measured, are in `published.json` with the way in which they were read off the plots.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from . import claims
from .claims import Run
from .crossings import EDGE, at_edge, first_crossing, last_known
from .run_settings import setting

Runs = Sequence[Run]
Measure = Callable[[Runs], float | None]

WIDTH = 12.0
"""Width of the time averages [steps]."""


def compared(
    published: Mapping[str, Mapping[str, float]], figures: Mapping[str, tuple[str, Runs]]
) -> list[dict[str, Any]]:
    """Return one row for each published number that the profile's figures also show.

    Args:
        published: numbers by figure of the catalogue and quantity.
        figures: by its own name, the figure's name in the catalogue and its runs, in their order.

    Returns:
        Rows of `figure` (its own name), `quantity`, `paper`, `ours` and `ratio` (ours over the paper's).
    """
    rows = []
    for name, (slug, runs) in figures.items():
        for quantity, paper in published.get(slug, {}).items():
            ours = measure_of(slug, quantity)(by_rate(runs))
            if ours is not None and np.isfinite(ours):
                ratio = ours / paper if paper else None
                rows.append({"figure": name, "quantity": quantity, "paper": paper, "ours": ours, "ratio": ratio})
    return rows


def measure_of(slug: str, quantity: str) -> Measure:
    """Return the function of a figure's runs that measures one of its quantities."""
    if slug in ("gd-eos-zoo-vision", "gd-eos-zoo-sequence"):
        network, _, which = quantity.partition(", ")
        return _in_zoo(network, RATES.index(which.partition(":")[0]))
    return MEASURES[slug][quantity]


# -- peaks and troughs -----------------------------------------------------------------------------------------------


def extremes(sharpness: xr.DataArray) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """Return steps and values of the peaks above and of the troughs below 2 that a series over `step` has, in order.

    A last one that the series still climbs or descends at its end is left out.
    """
    onset = first_crossing(sharpness)
    if onset is None:
        return [], []
    values, steps = (
        x.values for x in (sharpness.sel(step=slice(onset, None)), sharpness.step.sel(step=slice(onset, None)))
    )
    turns = np.flatnonzero(np.diff(values >= EDGE)) + 1
    parts = np.split(np.arange(len(values)), turns)
    found: tuple[list[tuple[int, float]], list[tuple[int, float]]] = ([], [])
    for i, part in enumerate(parts):
        below = i % 2
        at = part[(np.argmin if below else np.argmax)(values[part])]
        if at < len(values) - 1:
            found[below].append((int(steps[at]), float(values[at])))
    return found


def _top(run: Run) -> xr.DataArray:
    return run["midpoint"].effective_eigenvalues.isel(mode=0, drop=True).dropna("step")


def _peak(count: int = 0, run: int = 0) -> Measure:
    return lambda runs: _nth(extremes(_top(runs[run]))[0], count)


def _trough(count: int = 0, run: int = 0) -> Measure:
    return lambda runs: _nth(extremes(_top(runs[run]))[1], count)


def _nth(found: Sequence[tuple[int, float]], count: int) -> float | None:
    return found[count][1] / EDGE if len(found) > count else None


def _fall_over_rise(runs: Runs) -> float | None:
    sharpness = _top(runs[0])
    onset, (peaks, troughs) = first_crossing(sharpness), extremes(sharpness)
    rise = peaks[0][0] - onset if troughs else 0  # 0 for a run that starts at its peak
    return (troughs[0][0] - peaks[0][0]) / rise if rise else None


def _shorter(runs: Runs) -> float | None:
    peaks, _ = extremes(_top(runs[0]))
    steps = [step for step, _ in peaks]
    return (steps[2] - steps[1]) / (steps[1] - steps[0]) if len(steps) > 2 else None


# -- levels ----------------------------------------------------------------------------------------------------------


def _level(runs: Runs) -> float | None:
    """Return the mean effective sharpness over 2 in the second half of the time at the edge."""
    steps = at_edge(runs[0])
    return None if steps is None else float(_top(runs[0]).sel(step=steps).mean()) / EDGE


def _modes_at_edge(runs: Runs) -> float:
    """Return how many eigenvalues of the central flow, or else of the midpoints, are within 5 per cent of 2 at the end."""
    found = runs[0].get("central", runs[0]["midpoint"]).effective_eigenvalues
    last = found.dropna("step", how="all").isel(step=-1)
    return float((abs(last / EDGE - 1) < 0.05).sum())


def _step_times_sharpness(runs: Runs) -> float | None:
    steps = at_edge(runs[0])
    if steps is None:
        return None
    product = runs[0]["discrete"].step_size * runs[0]["midpoint"].hessian_eigenvalues.isel(mode=0)
    return float(product.sel(step=steps).mean()) / EDGE


# -- flows -----------------------------------------------------------------------------------------------------------


def _largest_distance(runs: Runs) -> float | None:
    """Return the central flow's largest distance over that of the stable flow at its last step."""
    last = last_known(runs[0]["stable"].distance)
    return None if last is None or not last[1] else float(runs[0]["central"].distance.max()) / last[1]


def _variance_error(runs: Runs) -> float | None:
    found = claims.predicted_variances(runs[0], WIDTH)
    return None if found is None else 2**found.value - 1


def _oscillating_share(name: str) -> Measure:
    """Return the measure of the share of the oscillation in the predicted mean of a quantity."""

    def measure(runs: Runs) -> float | None:
        steps = claims.oscillating(runs[0])
        if steps is None:
            return None
        own, predicted = (runs[0]["central"][v].sel(step=steps).mean("step") for v in (name, f"predicted_{name}"))
        return float((1 - own / predicted).median())

    return measure


def _ratio_at_end(one: tuple[int, str], other: tuple[int, str], quantity: str) -> Measure:
    """Return the measure of a quantity of a run's process over that of another, at the last step of both."""

    def measure(runs: Runs) -> float | None:
        values = [runs[run][process][quantity] for run, process in (one, other)]
        values = [v.isel(mode=0, drop=True) if "mode" in v.dims else v for v in values]
        first, second = xr.align(*(v.dropna("step") for v in values), join="inner")
        return float(first[-1] / second[-1]) if first.sizes["step"] else None

    return measure


def _claim(name: str) -> Measure:
    return lambda runs: claims.CLAIMS[name].measure(runs[0], WIDTH)


def _sharpness_exponent(runs: Runs) -> float | None:
    """Return d log S / d log lr of the central flows at their ends, between the smallest and the largest rate."""
    rates = [_rate(run) for run in runs]
    known = [run["central"].hessian_eigenvalues.isel(mode=0).dropna("step") for run in runs]
    if rates[0] == rates[-1] or not all(values.sizes["step"] for values in known):
        return None
    ends = [float(values[-1]) for values in known]
    return float(np.log(ends[-1] / ends[0]) / np.log(rates[-1] / rates[0]))


def _sharpness_fall(run: int) -> Measure:
    """Return the measure of the share of the sharpness that is lost from its first peak to the trough after it."""

    def measure(runs: Runs) -> float | None:
        peaks, troughs = extremes(_top(runs[run]))
        if not troughs:
            return None
        sharpness = runs[run]["midpoint"].hessian_eigenvalues.isel(mode=0)
        return 1 - float(sharpness.sel(step=troughs[0][0]) / sharpness.sel(step=peaks[0][0]))

    return measure


def _stationary_ratio(reduce: Callable[[Any], float]) -> Measure:
    """Return the measure of nu over its stationary value at the last point, reduced over the recorded weights."""

    def measure(runs: Runs) -> float | None:
        speeds, along = runs[0]["speeds"], runs[0]["central"].state_coordinates
        if not speeds.sizes["step"]:
            return None
        last = int(speeds.step[-1])
        stationary = speeds.nu_stationary.sel(step=last).isel(nu_entry=along.coordinate.values)
        return float(reduce(along.sel(step=last).values / stationary.values))

    return measure


def by_rate(runs: Runs) -> list[Run]:
    """Return runs in the order of their learning rates; those of equal rates keep their order."""
    return sorted(runs, key=_rate)


def _rate(run: Run) -> float:
    return setting(run, "optimizer", "lr") or np.nan


# -- the zoos --------------------------------------------------------------------------------------------------------

RATES = ("smallest rate", "middle rate", "largest rate")


def _in_zoo(network: str, rate: int) -> Measure:
    def measure(runs: Runs) -> float | None:
        members = [run for run in runs if setting(run, "model", "name") == network]
        return _peak()([members[rate]]) if len(members) == len(RATES) else None

    return measure


PEAK, TROUGH = "first peak of the {} over its edge", "first trough of the {} over its edge"
EFFECTIVE = "effective sharpness"

MEASURES: dict[str, dict[str, Measure]] = {
    "gd-one-cycle": {
        PEAK.format("sharpness"): _peak(),
        TROUGH.format("sharpness"): _trough(),
        "steps from the peak to the trough over steps from the edge to the peak": _fall_over_rise,
    },
    "gd-eos": {
        PEAK.format("sharpness"): _peak(),
        "mean sharpness over its edge, second half of the time at the edge": _level,
    },
    "gd-eos-two-lrs": {
        "smaller rate: " + PEAK.format("sharpness"): _peak(run=0),
        "larger rate: " + PEAK.format("sharpness"): _peak(run=1),
    },
    "gd-one-unstable": {
        **{f"peak {i + 1} of the sharpness over its edge": _peak(i) for i in range(4)},
        **{f"trough {i + 1} of the sharpness over its edge": _trough(i) for i in range(4)},
        "length of the second cycle over the first": _shorter,
    },
    "gd-multi-unstable": {"eigenvalues at the edge at the end": _modes_at_edge},
    "gd-central-flow": {"distance to the central over that to gradient flow, at its last step": _claim("distance")},
    "gd-sigma-one-unstable": {"error of the predicted variance": _variance_error},
    "gd-central-flow-multi": {
        "highest rank of Sigma": lambda runs: float(runs[0]["central"]["rank"].max()),
        "largest distance to the central flow over that to gradient flow at its last step": _largest_distance,
    },
    "gd-predict-sigma": {"error of the predicted variance that is worst beside its accuracy": _variance_error},
    "gd-loss-time-average": {"share of the oscillation in the predicted loss": _oscillating_share("loss")},
    "gd-gradnorm-time-average": {
        "share of the oscillation in the predicted squared gradient norm": _oscillating_share("gradient_norm_squared")
    },
    "scalar-rmsprop-eff-sharpness": {
        **{f"peak {i + 1} of the {EFFECTIVE} over 2": _peak(i) for i in range(3)},
        **{f"trough {i + 1} of the {EFFECTIVE} over 2": _trough(i) for i in range(3)},
    },
    "scalar-rmsprop-beta2-cycle": {
        "shorter memory: share of the sharpness that is lost from the peak to the trough": _sharpness_fall(0),
        "longer memory: share of the sharpness that is lost from the peak to the trough": _sharpness_fall(1),
    },
    "scalar-rmsprop-beta2-central": {
        "sharpness of the central flow at the end, shorter over longer memory": _ratio_at_end(
            (0, "central"), (1, "central"), "hessian_eigenvalues"
        ),
        "nu of the central flow at the end, shorter over longer memory": _ratio_at_end(
            (0, "central"), (1, "central"), "state_total"
        ),
    },
    "scalar-rmsprop-multi-unstable": {"effective eigenvalues at 2 at the end": _modes_at_edge},
    "scalar-rmsprop-step-size": {"mean step size times S/2 at the edge": _step_times_sharpness},
    "scalar-rmsprop-lr-sharpness": {"exponent of the learning rate in the final sharpness": _sharpness_exponent},
    "scalar-rmsprop-ablation": {
        "sharpness at the end, ablated over central flow": _claim("ablated-sharper"),
        "step size at the end, ablated over central flow": _claim("ablated-steps"),
        "loss at the end, ablated over central flow": _claim("ablated-slower"),
    },
    "scalar-rmsprop-lr-acceleration": {
        "loss of the central flow at the end, smaller over larger rate": _ratio_at_end(
            (0, "central"), (-1, "central"), "loss"
        ),
        "sharpness of the central flow at the end, smaller over larger rate": _ratio_at_end(
            (0, "central"), (-1, "central"), "hessian_eigenvalues"
        ),
    },
    "rmsprop-eos": {PEAK.format(EFFECTIVE): _peak(), "effective eigenvalues at 2 at the end": _modes_at_edge},
    "rmsprop-central-flow": {
        "distance to the central over that to the stable flow, at its last step": _claim("distance")
    },
    "rmsprop-predict-sigma": {"error of the predicted variance that is worst beside its accuracy": _variance_error},
    "rmsprop-stationary-cosine": {"cosine of nu and its stationary value at the end": _claim("stationary-nu")},
    "rmsprop-stationary-coords": {
        "median over weights of nu over its stationary value, at the end": _stationary_ratio(np.median),
        "smallest nu over its stationary value, at the end": _stationary_ratio(np.min),
        "largest nu over its stationary value, at the end": _stationary_ratio(np.max),
    },
}
"""Measures by figure and quantity."""
