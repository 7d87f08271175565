"""Analysis of stored trajectories: time averages, onset of the edge of stability, errors. xarray in, xarray out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy import ndarray
from scipy.ndimage import gaussian_filter1d

from .crossings import EDGE, first_crossing, last_known

LOCKED = 0.05  # a central flow's eigenvalue this near to the edge counts as locked to it


def time_average(values: xr.DataArray, *, width: float) -> xr.DataArray:
    """Return the Gaussian average over `step`, of standard deviation `width` [optimizer steps].

    The kernel ends after four widths. Near the ends and near missing values, it is normalised over the available
    values. If a value is missing, so is its average.
    """

    def average(series: ndarray) -> ndarray:
        known = np.isfinite(series)
        weight = gaussian_filter1d(known.astype(float), width, axis=-1, mode="constant", truncate=4.0)
        total = gaussian_filter1d(np.where(known, series, 0.0), width, axis=-1, mode="constant", truncate=4.0)
        return np.where(known, total / np.where(weight > 0, weight, 1.0), np.nan)

    averaged = xr.apply_ufunc(average, values, input_core_dims=[["step"]], output_core_dims=[["step"]]).transpose(
        *values.dims
    )
    return averaged.assign_attrs(
        units=values.attrs.get("units", "1"),
        long_name=f"Gaussian time average of {values.attrs.get('long_name', values.name)}",
        average_width=width,
    )


def longest_window(condition: xr.DataArray) -> tuple[int, int] | None:
    """Return the longest interval [start, stop) of consecutive steps in which a boolean series holds, or None."""
    padded = np.concatenate([[False], condition.values.astype(bool), [False]]).astype(int)
    starts, stops = np.flatnonzero(np.diff(padded) == 1), np.flatnonzero(np.diff(padded) == -1)
    if not len(starts):
        return None
    best = np.argmax(stops - starts)
    steps = condition.step.values
    return int(steps[starts[best]]), int(steps[stops[best] - 1]) + 1


def analyse(trajectories: Mapping[str, xr.Dataset], *, width: float = 12.0) -> xr.Dataset:
    """Return time averages of the discrete run, and comparisons of the flows with them.

    Args:
        trajectories: "discrete", "midpoint", and "stable" and "central" if they were run.
        width: of the time averages [optimizer steps].
    """
    discrete, midpoint = trajectories["discrete"], trajectories["midpoint"]
    averaged = ("loss", "gradient_norm_squared", "gradient_squared", "state_coordinates")
    found = {f"{name}_average": time_average(discrete[name], width=width) for name in averaged if name in discrete}
    sharpness = midpoint.effective_eigenvalues.isel(mode=0)
    attrs: dict[str, float | int] = {"average_width": width}
    onset = first_crossing(sharpness)
    if onset is not None:
        attrs["onset_step"] = onset
    if "central" in trajectories:
        central = trajectories["central"]
        squared = (central.displacement**2).assign_attrs(
            units="loss", long_name="squared displacement along each eigenvector of Sigma, P-normalised"
        )
        found["squared_displacement"] = squared
        found["squared_displacement_average"] = time_average(squared, width=width)
        found["loss_prediction_error"] = (central.predicted_loss / found["loss_average"] - 1).assign_attrs(
            units="1", long_name="predicted over averaged discrete loss, minus one"
        )
        locked = (np.abs(central.effective_eigenvalues - EDGE) < LOCKED).sum("mode")
        attrs["modes_locked"] = int(locked.max())
    for process in ("stable", "central", "ablated"):
        if process in trajectories:
            last = last_known(trajectories[process].distance)
            if last is not None:
                attrs[f"{process}_last_step"], attrs[f"{process}_distance"] = last
    return xr.Dataset(found).assign_attrs(attrs)
