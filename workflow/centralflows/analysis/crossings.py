"""Steps at which a time series reaches a level: the edge of stability, a loss, or its end."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

EDGE = 2.0  # effective eigenvalue at the edge of stability


def first_crossing(values: xr.DataArray, level: float = EDGE) -> int | None:
    """Return the first step at which a series over `step` is at or above a level; None if it never is."""
    above = np.flatnonzero(values.values >= level)
    return int(values.step.values[above[0]]) if len(above) else None


def upward_crossing(values: xr.DataArray, count: int, level: float = EDGE) -> int | None:
    """Return the step of the count-th upward crossing of a level by a series over `step`; None if there are fewer.

    The series is at or above the level there, and below it at the step before.
    """
    above = values.values >= level
    crossings = np.flatnonzero(above[1:] & ~above[:-1] & np.isfinite(values.values[:-1])) + 1
    return int(values.step.values[crossings[count - 1]]) if len(crossings) >= count else None


def first_not_above(values: xr.DataArray, level: float) -> int | None:
    """Return the first step at which a series over `step` is at or below a level; None if there is none."""
    below = np.flatnonzero(values.values <= level)
    return int(values.step.values[below[0]]) if len(below) else None


def last_known(values: xr.DataArray) -> tuple[int, float] | None:
    """Return the last step at which a series is not missing, and its value there; None if it is missing everywhere."""
    known = np.flatnonzero(np.isfinite(values.values))
    return (int(values.step[known[-1]]), float(values[known[-1]])) if len(known) else None


def at_edge(run: Mapping[str, xr.Dataset]) -> xr.DataArray | None:
    """Return the steps of the second half of the time since the sharpness first reached the edge, or None.

    It is None if the sharpness never reaches the edge, or for fewer than ten steps. The first half contains the
    transient: the first overshoot is larger than all later ones.
    """
    sharpness = run["midpoint"].effective_eigenvalues.isel(mode=0).dropna("step")
    onset = first_crossing(sharpness)
    if onset is None:
        return None
    last = int(sharpness.step[-1])
    steps = sharpness.step.sel(step=slice((onset + last) // 2, None))
    return steps if len(steps) >= 10 else None
