"""The curves of a run that the explorer shows, and their packing into the page.

Floats keep four digits, which is more than a screen shows, and which compress well. A run longer than `MOST` points is
thinned: each group of steps is drawn by its smallest and its largest value.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy import ndarray

from ..analysis.time_series import time_average
from .run_view import Run, names

MOST = 2000  # points of a curve; more than a panel has pixels
MODES = 4  # eigenvalues and directions of oscillation

FLOWS = ("stable", "central", "ablated", "stationary", "stationary-ablated")


class Curve(NamedTuple):
    """A curve of a panel.

    Attributes:
        panel: name of the panel.
        style: kind of line: "raw", "average", "mode", or the name of a flow.
        label: its name in the legend.
        values: over `step`.
        mode: of which eigenvalue or direction, from 0.
    """

    panel: str
    style: str
    label: str
    values: xr.DataArray
    mode: int = 0


def curves(run: Run, width: float) -> Iterator[Curve]:
    """Yield the curves of a run in the order in which they are drawn.

    Args:
        run: its stores by process.
        width: of the time averages [steps].
    """
    for curve in _curves(run, width):
        if curve.values.notnull().any():
            yield curve


def _curves(run: Run, width: float) -> Iterator[Curve]:
    called = names(run)
    yield Curve("loss", "raw", called["discrete"], run["discrete"].loss)
    yield Curve("loss", "average", "its time average", time_average(run["discrete"].loss, width=width))
    for flow in (flow for flow in FLOWS if flow in run):
        predicted = run[flow].get("predicted_loss")
        label = called[flow] if predicted is None else f"{called[flow]}, predicted average"
        yield Curve("loss", flow, label, run[flow].loss if predicted is None else predicted)
        yield Curve("distance", flow, called[flow], run[flow].distance)
    yield from _spectrum(run)
    yield from _variances(run, width)


def _spectrum(run: Run) -> Iterator[Curve]:
    for process, style, where in (("midpoint", "mode", "midpoints"), ("central", "central", "central flow")):
        if process in run:
            found = run[process].effective_eigenvalues
            for mode in range(min(MODES, found.sizes["mode"])):
                yield Curve("spectrum", style, f"{where}, {mode + 1}", found.isel(mode=mode), mode)


def _variances(run: Run, width: float) -> Iterator[Curve]:
    if "central" not in run:
        return
    central = run["central"]
    squared = time_average(central.displacement**2, width=width)
    for mode in range(min(MODES, int(central["rank"].max()))):
        yield Curve("variance", "average", f"measured, {mode + 1}", squared.isel(mode=mode), mode)
        yield Curve("variance", "predicted", f"predicted, {mode + 1}", central.variances.isel(mode=mode), mode)


def packed(run: Run, width: float) -> dict[str, Any]:
    """Return the curves of a run, as plain data for JSON.

    Returns:
        `first` and `stride`: the first step and the distance of steps; `points`: their number; `grouped`: the number of
        steps of which two values are kept, or 0; `curves`: panel, style, label and mode of each; `data`: their
        values, one curve after the other, little-endian float32, compressed (zlib) and in base64.
    """
    found = list(curves(run, width))
    steps = run["discrete"].step
    values = np.stack([curve.values.reindex(step=steps).values for curve in found])
    size = group_size(values.shape[1])
    kept = rounded(extremes(values, size) if size else values)
    return {
        "first": int(steps[0]),
        "stride": size / 2 if size else 1,
        "points": kept.shape[1],
        "grouped": size,
        "curves": [[curve.panel, curve.style, curve.label, curve.mode] for curve in found],
        "data": base64.b64encode(zlib.compress(kept.astype("<f4").tobytes(), 9)).decode(),
    }


def group_size(steps: int, most: int = MOST) -> int:
    """Return of how many steps two values are kept, so that no more than `most` remain; 0 if all are kept."""
    return 0 if steps <= most else -(-2 * steps // most)


def extremes(values: ndarray, size: int) -> ndarray:
    """Return the smallest and the largest value of each group of columns, in the order in which they occur.

    Args:
        values: `[curves, steps]`; values that are not known are NaN.
        size: number of columns of a group; the last group may have fewer.

    Returns:
        `[curves, 2 * groups]`.
    """
    groups = -(-values.shape[1] // size)
    padded = np.full((values.shape[0], groups * size), np.nan)
    padded[:, : values.shape[1]] = values
    padded = padded.reshape(values.shape[0], groups, size)
    low = np.argmin(np.where(np.isnan(padded), np.inf, padded), axis=-1)
    high = np.argmax(np.where(np.isnan(padded), -np.inf, padded), axis=-1)
    both = np.sort(np.stack([low, high], axis=-1), axis=-1)
    return np.take_along_axis(padded, both, axis=-1).reshape(values.shape[0], 2 * groups)


def rounded(values: ndarray, bits: int = 13) -> ndarray:
    """Return float32 values rounded to a number of bits after the leading one; relative error at most 2^-(bits + 1)."""
    drop = 23 - bits
    with np.errstate(over="ignore"):  # the last values of a run that diverges may be beyond float32
        whole = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    near = (whole + np.uint32(1 << (drop - 1))) & ~np.uint32((1 << drop) - 1)
    return near.view(np.float32)
