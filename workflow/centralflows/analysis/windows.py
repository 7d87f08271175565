"""The steps of a run that a figure shows, found from its data.

Each function returns [start, stop), or None if the run does not show the feature.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from .crossings import EDGE, first_crossing, upward_crossing
from .time_series import longest_window

Window = tuple[int, int]


def sharpening(midpoint: xr.Dataset, *, over: float = 1.07) -> Window | None:
    """Return the window from the first step until the oscillation that begins at the edge reduces the sharpness again.

    Args:
        over: the window ends where the sharpness exceeds 2 by this factor, if that comes first.
    """
    sharpness = midpoint.effective_eigenvalues.isel(mode=0)
    first = first_crossing(sharpness)
    if first is None:
        return None
    values = sharpness.sel(step=slice(first, None))
    ends = [s for s in (first_crossing(values, over * EDGE), _downward(values), int(values.step[-1])) if s is not None]
    return int(sharpness.step[0]), min(ends) + 1


def cycle(midpoint: xr.Dataset, count: int = 1) -> Window | None:
    """Return the window from the count-th upward crossing of 2 by the effective sharpness to the next, or to the
    end."""
    sharpness = midpoint.effective_eigenvalues.isel(mode=0)
    start, stop = upward_crossing(sharpness, count), upward_crossing(sharpness, count + 1)
    if start is None:
        return None
    return start, int(sharpness.step[-1]) + 1 if stop is None else stop + 1


def restarted(midpoints: Sequence[xr.Dataset]) -> Window | None:
    """Return the window until the last of several runs, all started at an upward crossing of 2, has its next
    crossing."""
    ends = [upward_crossing(midpoint.effective_eigenvalues.isel(mode=0), 1) for midpoint in midpoints]
    found = [end for end in ends if end is not None]
    return (int(midpoints[0].step[0]), max(found) + 1) if found else None


def first_blow(midpoint: xr.Dataset) -> Window | None:
    """Return the window around the first spike: equally many steps before and after the sharpness falls below 2.

    It stays within the first cycle. Each half has four times the steps that the sharpness then takes to its minimum,
    and at least 15.
    """
    whole = cycle(midpoint)
    if whole is None:
        return None
    values = midpoint.effective_eigenvalues.isel(mode=0).sel(step=slice(whole[0], whole[1] - 1))
    fall = _downward(values)
    if fall is None:
        return whole
    after = values.sel(step=slice(fall, None))
    reach = max(15, 4 * (int(after.step[after.values.argmin()]) - fall))
    return max(whole[0], fall - reach), min(whole[1], fall + reach)


def one_unstable(midpoint: xr.Dataset) -> Window | None:
    """Return the window from shortly before the first eigenvalue reaches the edge until the second one does."""
    eigenvalues = midpoint.effective_eigenvalues
    first = first_crossing(eigenvalues.isel(mode=0))
    if first is None:
        return None
    end = int(eigenvalues.step[-1]) + 1
    second = (
        first_crossing(eigenvalues.isel(mode=1).sel(step=slice(first, None))) if eigenvalues.sizes["mode"] > 1 else None
    )
    stop = end if second is None or second - first < 20 else second
    return max(int(eigenvalues.step[0]), first - (stop - first) // 5), stop


def rank_one(central: xr.Dataset) -> Window | None:
    """Return the longest window in which one direction oscillates."""
    return longest_window(central["rank"] == 1)


def highest_rank(central: xr.Dataset, *, most: int) -> Window | None:
    """Return the longest window at the highest lasting rank of Sigma (up to 3, for at least a tenth of the run).

    Args:
        most: largest number of steps; the middle of a longer window is returned.
    """
    least = max(2, central.sizes["step"] // 10)
    for rank in (3, 2, 1):
        window = longest_window(central["rank"] >= rank)
        if window is not None and window[1] - window[0] >= least:
            spare = max(0, window[1] - window[0] - most)
            return window[0] + spare // 2, window[1] - (spare - spare // 2)
    return None


def early(midpoint: xr.Dataset, *, cycles: int) -> Window | None:
    """Return the window from the first step through the first few cycles around the edge."""
    stop = upward_crossing(midpoint.effective_eigenvalues.isel(mode=0), cycles + 1)
    return None if stop is None else (int(midpoint.step[0]), stop + 1)


def _downward(values: xr.DataArray) -> int | None:
    """Return the first step at which a series falls below 2 from 2 or above."""
    above = values.values >= EDGE
    falls = np.flatnonzero(above[:-1] & ~above[1:]) + 1
    return int(values.step.values[falls[0]]) if len(falls) else None
