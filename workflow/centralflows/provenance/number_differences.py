"""Numerical differences between two stores, datasets or scorecards; for other files, whether they differ at all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy import ndarray

from ..common.hashing import sha256
from ..store.npz import read_npz
from ..store.trajectory import open_trajectory
from .record_differences import ABSENT, differences

BLOCK = 2**24  # numbers held in memory at a time


class Gap(NamedTuple):
    """The difference of one quantity between two outputs.

    Attributes:
        name: name of the quantity.
        absolute: largest difference; infinite if only one of two values is a number.
        relative: largest difference, relative to the largest number in either output.
        where: description of where the difference begins, or of both values.
    """

    name: str
    absolute: float
    relative: float
    where: str


def gaps(one: Path, other: Path) -> list[Gap]:
    """Return the quantities in which two outputs of the same kind differ, the largest relative difference first."""
    if one.suffix == ".zarr":
        found = _stores(open_trajectory(one), open_trajectory(other))
    elif one.suffix == ".npz":
        found = _arrays(read_npz(one), read_npz(other))
    elif one.suffix == ".json":
        found = _values(json.loads(one.read_text()), json.loads(other.read_text()))
    else:
        found = _files(one, other)
    return sorted(found, key=lambda gap: -gap.relative)


def _stores(one: xr.Dataset, other: xr.Dataset) -> Iterator[Gap]:
    for name in sorted(one.variables.keys() | other.variables.keys(), key=str):
        if name not in one.variables or name not in other.variables:
            yield _alone(str(name), "first" if name in one.variables else "second")
        elif one[name].shape != other[name].shape:
            yield _shapes(str(name), one[name].shape, other[name].shape)
        else:
            yield from _gap(str(name), one[name], other[name])


def _arrays(one: Mapping[str, ndarray], other: Mapping[str, ndarray]) -> Iterator[Gap]:
    def dataset(arrays: Mapping[str, ndarray]) -> xr.Dataset:
        numbers = {name: array for name, array in arrays.items() if array.dtype.kind in "fiub"}
        return xr.Dataset({name: ([f"{name}_{i}" for i in range(a.ndim)], a) for name, a in numbers.items()})

    yield from _stores(dataset(one), dataset(other))


def _values(one: Any, other: Any) -> Iterator[Gap]:
    for key, (a, b) in differences(one, other).items():
        if ABSENT in (a, b):
            yield _alone(key, "second" if a == ABSENT else "first")
        elif isinstance(a, float | int) and isinstance(b, float | int):
            yield Gap(key, abs(a - b), abs(a - b) / max(abs(a), abs(b)), f"{a:g} and {b:g}")
        else:
            yield Gap(key, np.inf, np.inf, f"{json.dumps(a)[:60]} and {json.dumps(b)[:60]}")


def _files(one: Path, other: Path) -> Iterator[Gap]:
    digests = [
        {file.relative_to(path).as_posix(): sha256(file) for file in (path, *path.rglob("*")) if file.is_file()}
        for path in (one, other)
    ]
    if differ := differences(*digests):
        yield Gap("content", np.inf, np.inf, f"{len(differ)} of {len(digests[0] | digests[1])} files")


def _alone(name: str, which: str) -> Gap:
    return Gap(name, np.inf, np.inf, f"in the {which} alone")


def _shapes(name: str, one: tuple[int, ...], other: tuple[int, ...]) -> Gap:
    return Gap(name, np.inf, np.inf, f"shapes {one} and {other}")


def _gap(name: str, one: xr.DataArray, other: xr.DataArray) -> Iterator[Gap]:
    """Yield the gap between two arrays of the same shape, which may exceed the memory; nothing if they are equal."""
    absolute, largest, first = 0.0, 0.0, None
    for rows in _blocks(one):
        a, b = (np.atleast_1d(np.asarray(array[rows].values, dtype=float)) for array in (one, other))
        differs = ~((a == b) | (np.isnan(a) & np.isnan(b)))
        largest = max(largest, *(float(np.nanmax(np.abs(x), initial=0.0)) for x in (a, b)))
        if differs.any():
            first = rows.start + int(np.argwhere(differs)[0, 0]) if first is None and one.ndim else first
            gap = np.abs(a - b)[differs]
            absolute = max(absolute, np.inf if np.isnan(gap).any() else float(gap.max()))
    if absolute:
        lead = one.dims[0] if one.ndim else ""
        label = one[lead].values[first] if lead in one.coords else first
        yield Gap(name, absolute, absolute / largest if largest else np.inf, f"from {lead} {label} on" if lead else "")


def _blocks(array: xr.DataArray) -> Iterator[slice | tuple[()]]:
    if array.ndim == 0:
        yield ()
        return
    rows = max(1, BLOCK // max(1, array[0].size))
    for start in range(0, array.shape[0], rows):
        yield slice(start, start + rows)
