"""The analysis against direct sums and numbers by hand."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from centralflows.analysis.crossings import first_crossing, last_known
from centralflows.analysis.time_series import analyse, longest_window, time_average
from centralflows.store.trajectory import Record, Shape, to_dataset


def series(values, *, first: int = 0, **attrs) -> xr.DataArray:
    values = np.asarray(values)
    return xr.DataArray(values, dims="step", coords={"step": np.arange(first, first + len(values))}, attrs=attrs)


# -- time averages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [0.7, 3.0, 50.0])
def test_a_constant_is_its_own_average_at_the_ends_too(width):
    averaged = time_average(series(np.full(40, 2.5)), width=width)
    # numerator and denominator are sums of at most 40 terms of one sign: relative error 2 * 40 eps
    np.testing.assert_allclose(averaged, 2.5, rtol=80 * np.finfo(float).eps)


def test_an_average_is_the_direct_sum():
    values = np.random.default_rng(0).standard_normal(60)
    values[[3, 30, 31, 59]] = np.nan
    width = 2.6
    reach = int(4 * width + 0.5)
    expected = np.full(60, np.nan)
    for i in range(60):
        near = [j for j in range(60) if abs(i - j) <= reach and np.isfinite(values[j])]
        weights = [np.exp(-((i - j) ** 2) / (2 * width**2)) for j in near]
        if np.isfinite(values[i]):
            expected[i] = np.dot(weights, values[near]) / np.sum(weights)
    # sums of 21 terms of size 1, in another order
    np.testing.assert_allclose(time_average(series(values), width=width), expected, atol=1e-14)


def test_an_oscillation_of_period_two_averages_to_almost_nothing():
    width, n = 4.0, 100
    averaged = np.abs(time_average(series((-1.0) ** np.arange(n)), width=width))
    # The whole Gaussian sums to 2 exp(-pi^2 w^2 / 2) < 1e-33 against an alternating sign (Poisson summation), so there
    # remain the two cut tails: alternating and decreasing, each less than its first term, that at distance 17.
    reach = 16
    tails = 2 * np.exp(-((reach + 1) ** 2) / (2 * width**2)) / (width * np.sqrt(2 * np.pi))
    assert averaged[reach : n - reach].max() < 1.001 * tails
    # Beside an end the weights rise and fall, so that their alternating sum is less than the largest of them, and
    # they are normalised over at least half of the Gaussian.
    assert averaged.max() < 1.001 / (0.5 * width * np.sqrt(2 * np.pi))


def test_a_line_stays_a_line_away_from_the_ends():
    line = 0.25 * np.arange(80.0)
    averaged = time_average(series(line), width=3.0)
    np.testing.assert_allclose(averaged[12:-12], line[12:-12], rtol=1e-13)  # the kernel is even; 25 terms


def test_missing_values_stay_missing_and_do_not_spread():
    values = np.array([np.nan, 1.0, 1.0, np.nan, np.nan, 1.0, np.nan])
    averaged = time_average(series(values), width=1.0)
    assert np.array_equal(np.isnan(averaged), np.isnan(values))
    np.testing.assert_allclose(averaged[[1, 2, 5]], 1.0, rtol=1e-15)
    assert np.isnan(time_average(series([np.nan, np.nan]), width=1.0)).all()


def test_every_row_is_averaged_by_itself():
    rows = np.random.default_rng(1).standard_normal((30, 2))
    both = xr.DataArray(rows, dims=("step", "mode"), name="values", attrs={"units": "loss", "long_name": "the loss"})
    averaged = time_average(both, width=2.0)
    assert averaged.dims == ("step", "mode")
    for mode in range(2):
        assert np.array_equal(averaged[:, mode], time_average(both[:, mode], width=2.0))
    assert averaged.attrs == {"units": "loss", "long_name": "Gaussian time average of the loss", "average_width": 2.0}


# -- events -------------------------------------------------------------------------------------------------------


def test_the_first_crossing_counts_the_level_itself():
    values = series([1.0, np.nan, 2.0, 3.0, 1.0], first=10)
    assert first_crossing(values) == 12
    assert first_crossing(values, 2.5) == 13
    assert first_crossing(values, 3.5) is None
    assert first_crossing(series([np.nan])) is None


def test_the_last_known_value_stands_before_the_missing_ones():
    assert last_known(series([1.0, np.nan, 3.0, np.nan], first=5)) == (7, 3.0)
    assert last_known(series([1.0, 2.0])) == (1, 2.0)
    assert last_known(series([np.nan, np.nan])) is None


@pytest.mark.parametrize(
    "condition, window",
    [
        ("0110111010", (14, 17)),
        ("1101", (10, 12)),
        ("0111", (11, 14)),
        ("1111", (10, 14)),
        ("0101", (11, 12)),  # the first of equals
        ("000", None),
        ("", None),
    ],
)
def test_the_longest_window_is_found(condition, window):
    assert longest_window(series(np.array([c == "1" for c in condition], dtype=bool), first=10)) == window


# -- trajectories -------------------------------------------------------------------------------------------------

STEPS = 12
SHARPNESS = (10 + np.arange(STEPS)) / 10  # 2.0 at step 10


def trajectory(process: str, *, known: int = STEPS) -> xr.Dataset:
    records = [
        Record(
            step,
            {
                "loss": 2.0,
                "gradient_norm_squared": 1.0,
                "step_size": 0.5,
                "effective_eigenvalues": [SHARPNESS[step], 0.5],
                "distance": 0.1 * step,
                "predicted_loss": 2.5,
                "displacement": [3.0 * (-1) ** step],
            },
            np.zeros(2, dtype="float32"),
        )
        for step in range(known)
    ]
    return to_dataset(records, Shape(process, STEPS, 3, (0, 0), 2)).reindex(step=np.arange(STEPS))


def test_an_analysis_of_all_processes_by_hand():
    data = {name: trajectory(name) for name in ("discrete", "midpoint", "central")}
    found = analyse(data | {"stable": trajectory("stable", known=5)}, width=2.0)
    assert found.attrs == {
        "average_width": 2.0,
        "onset_step": 10,
        "modes_locked": 1,  # 2.0 and 2.1 at the last two steps, of which the first is within 0.05 of the edge
        "stable_last_step": 4,
        "stable_distance": pytest.approx(0.4, rel=1e-15),
        "central_last_step": 11,
        "central_distance": pytest.approx(1.1, rel=1e-15),
    }
    np.testing.assert_allclose(found.loss_average, 2.0, rtol=1e-14)
    np.testing.assert_allclose(found.loss_prediction_error, 0.25, rtol=1e-13)  # 2.5 / 2.0 - 1
    np.testing.assert_allclose(found.squared_displacement[:, 0], 9.0, rtol=0)
    np.testing.assert_allclose(found.squared_displacement_average[:, 0], 9.0, rtol=1e-14)
    assert np.isnan(found.squared_displacement[:, 1:]).all()
    for name, variable in found.variables.items():
        assert {"units", "long_name"} <= set(variable.attrs), name


def test_an_analysis_without_flows():
    data = {name: trajectory(name) for name in ("discrete", "midpoint")}
    found = analyse(data, width=2.0)
    assert set(found.data_vars) == {"loss_average", "gradient_norm_squared_average"}
    assert found.attrs == {"average_width": 2.0, "onset_step": 10}


def test_a_run_that_stays_stable_has_no_onset():
    data = {name: trajectory(name).isel(step=slice(9)) for name in ("discrete", "midpoint", "stable")}
    found = analyse(data, width=2.0)
    assert "onset_step" not in found.attrs
    assert found.attrs["stable_last_step"] == 8


def test_weights_that_were_not_stored_leave_no_distance():
    data = {name: trajectory(name) for name in ("discrete", "midpoint", "stable")}
    data["stable"]["distance"][:] = np.nan
    assert "stable_distance" not in analyse(data, width=2.0).attrs
