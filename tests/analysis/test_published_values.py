"""The paper's numbers beside a profile's: every number has its measure, and measures return what series were made of."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from centralflows.analysis import published_values
from centralflows.analysis.published_values import MEASURES, compared, extremes, measure_of
from centralflows.config.job_settings import PUBLISHED
from centralflows.figures.run_view import NETWORKS

NUMBERS = json.loads(PUBLISHED.read_text())["figures"]


def series(values) -> xr.DataArray:
    return xr.DataArray(np.asarray(values, dtype=float), {"step": np.arange(len(values))}, "step")


def cycling(*, lr=0.1, peak=2.4, trough=1.6, model="cnn") -> dict[str, xr.Dataset]:
    """A run whose sharpness rises to 2, and has two peaks and troughs, the second pair half as far from 2."""
    values = [1.0, 1.5, 2.0, peak, 2.0, trough, 1.9, 2.0, 1 + peak / 2, 1.9, 1 + trough / 2, 1.95, 1.95]
    modes = np.stack([values, np.full(len(values), 1.98)], 1)
    config = json.dumps({"run": {"optimizer": {"name": "gd", "lr": lr}, "model": {"name": model}}})
    coords = {"step": np.arange(len(values)), "mode": [1, 2]}
    midpoint = {
        "effective_eigenvalues": (("step", "mode"), modes),
        "hessian_eigenvalues": (("step", "mode"), modes / lr),
    }
    discrete = {"step_size": ("step", np.full(len(values), lr))}
    return {
        "discrete": xr.Dataset(discrete, {"step": coords["step"]}, {"config": config}),
        "midpoint": xr.Dataset(midpoint, coords),
    }


def test_every_published_number_has_a_measure_and_every_measure_a_number():
    zoos = {"gd-eos-zoo-vision", "gd-eos-zoo-sequence"}
    assert {slug: set(found) for slug, found in MEASURES.items()} == {
        slug: set(found) for slug, found in NUMBERS.items() if slug not in zoos
    }
    for slug in zoos:
        assert {quantity.partition(",")[0] for quantity in NUMBERS[slug]} < set(NETWORKS)
        assert all(callable(measure_of(slug, quantity)) for quantity in NUMBERS[slug])


def test_peaks_and_troughs_are_found_and_unfinished_ones_left_out():
    peaks, troughs = extremes(series([1, 2, 2.5, 2.2, 1.7, 1.8, 2.1, 2.3]))
    assert peaks == [(2, 2.5)] and troughs == [(4, 1.7)]
    assert extremes(series([1.0, 1.9])) == ([], [])
    assert extremes(series([1, 2, 3])) == ([], [])


def test_numbers_of_a_run_are_measured_and_compared():
    rows = compared(NUMBERS, {"mine": ("gd-one-cycle", [cycling()])})
    found = {row["quantity"]: row for row in rows}
    assert {row["figure"] for row in rows} == {"mine"} and len(found) == 3
    peak = found["first peak of the sharpness over its edge"]
    assert peak["ours"] == pytest.approx(1.2) and peak["ratio"] == pytest.approx(1.2 / 1.108)
    assert found["first trough of the sharpness over its edge"]["ours"] == pytest.approx(0.8)
    # the edge is reached at step 2, the peak at 3, the trough at 5
    assert found["steps from the peak to the trough over steps from the edge to the peak"]["ours"] == pytest.approx(2)


def test_a_zoo_is_compared_network_by_network_in_the_order_of_the_rates():
    runs = [cycling(lr=0.3, peak=2.6), cycling(lr=0.1, peak=2.2), cycling(lr=0.2), cycling(model="vit")]
    rows = compared(NUMBERS, {"zoo": ("gd-eos-zoo-vision", runs)})
    assert [row["quantity"].partition(":")[0] for row in rows] == [
        f"cnn, {rate}" for rate in published_values.RATES
    ]  # the ViT has one rate, and cannot be compared
    np.testing.assert_allclose([row["ours"] for row in rows], [1.1, 1.2, 1.3])


def test_the_exponent_of_the_learning_rate_is_that_of_a_power_law():
    runs = []
    for lr in (0.1, 0.2, 0.4):
        run = cycling(lr=lr)
        sharpness = np.full((3, 1), 7 * lr**-0.9)
        run["central"] = xr.Dataset({"hessian_eigenvalues": (("step", "mode"), sharpness)}, {"step": [0, 1, 2]})
        runs.append(run)
    (row,) = compared(NUMBERS, {"a": ("scalar-rmsprop-lr-sharpness", runs[::-1])})
    assert row["ours"] == pytest.approx(-0.9)
