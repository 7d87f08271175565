"""Which steps of a run a figure shows, found from its data.

Each function returns [start, stop), or None where the run does not show what is looked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from .crossings import EDGE, first_crossing, upward_crossing
from .time_series import longest_window

Window = tuple[int, int]


def sharpening(midpoint: xr.Dataset, *, over: float = 1.07) -> Window | None:
    """From the first step until the oscillation that begins at the edge throws the sharpness back.

    Args:
        over: where the sharpness passes 2 by this factor, if it does so before.
    """
    sharpness = midpoint.effective_eigenvalues.isel(mode=0)
    first = first_crossing(sharpness)
    if first is None:
        return None
    values = sharpness.sel(step=slice(first, None))
    ends = [s for s in (first_crossing(values, over * EDGE), _downward(values), int(values.step[-1])) if s is not None]
    return int(sharpness.step[0]), min(ends) + 1


def cycle(midpoint: xr.Dataset, count: int = 1) -> Window | None:
    """From the count-th upward crossing of 2 by the effective sharpness to the next, or to the end."""
    sharpness = midpoint.effective_eigenvalues.isel(mode=0)
    start, stop = upward_crossing(sharpness, count), upward_crossing(sharpness, count + 1)
    if start is None:
        return None
    return start, int(sharpness.step[-1]) + 1 if stop is None else stop + 1


def restarted(midpoints: Sequence[xr.Dataset]) -> Window | None:
    """Of runs that start at an upward crossing of 2: until the last of them comes to its next."""
    ends = [upward_crossing(midpoint.effective_eigenvalues.isel(mode=0), 1) for midpoint in midpoints]
    found = [end for end in ends if end is not None]
    return (int(midpoints[0].step[0]), max(found) + 1) if found else None


def first_blow(midpoint: xr.Dataset) -> Window | None:
    """The first spike: as many steps before the sharpness falls below 2 as after it, within the first cycle.

    As many as four times what the sharpness then needs to its minimum, and 15 at least.
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
    """From somewhat before the first eigenvalue reaches the edge until the second one does."""
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
    """The longest time in which one direction oscillates."""
    return longest_window(central["rank"] == 1)


def highest_rank(central: xr.Dataset, *, most: int) -> Window | None:
    """The longest time at the highest lasting rank of Sigma (up to 3, for at least a tenth of the run).

    Args:
        most: the middle of it, so many steps, where it is longer.
    """
    least = max(2, central.sizes["step"] // 10)
    for rank in (3, 2, 1):
        window = longest_window(central["rank"] >= rank)
        if window is not None and window[1] - window[0] >= least:
            spare = max(0, window[1] - window[0] - most)
            return window[0] + spare // 2, window[1] - (spare - spare // 2)
    return None


def early(midpoint: xr.Dataset, *, cycles: int) -> Window | None:
    """From the first step through the first few cycles around the edge."""
    stop = upward_crossing(midpoint.effective_eigenvalues.isel(mode=0), cycles + 1)
    return None if stop is None else (int(midpoint.step[0]), stop + 1)


def _downward(values: xr.DataArray) -> int | None:
    """The first step at which a series falls below 2 after it was not."""
    above = values.values >= EDGE
    falls = np.flatnonzero(above[:-1] & ~above[1:]) + 1
    return int(values.step.values[falls[0]]) if len(falls) else None
