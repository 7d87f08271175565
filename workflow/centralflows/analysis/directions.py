"""One direction of a spectrum whose eigenvalues cross."""

from __future__ import annotations

import xarray as xr


def most_displaced(midpoint: xr.Dataset) -> int:
    """Return the number of the direction along which the iterates are displaced most, by the sum of squares."""
    squares = midpoint.oscillation.transpose("step", "mode").values ** 2
    numbers = midpoint.direction.transpose("step", "mode").values
    sums = {int(n): float(squares[numbers == n].sum()) for n in set(numbers[numbers >= 0].tolist())}
    return max(sums, key=lambda n: sums[n])


def along(values: xr.DataArray, direction: xr.DataArray, number: int) -> xr.DataArray:
    """Return the values `[step, mode]` of one direction over `step`; they are missing where it is not tracked."""
    return values.where(direction == number).max("mode").assign_attrs(values.attrs)
