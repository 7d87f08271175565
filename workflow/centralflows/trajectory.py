"""Trajectories as chunked Zarr stores: schema, writer, reader, publication. It knows no physics.

A trajectory is a sequence of `Record`s, one per optimizer step. In memory it becomes an xarray Dataset; on disk the same
Dataset, written segment by segment. A store is written under a staging name and published by one rename, so that whatever
stands under its final name is complete.

Schema, writer and reader stand in one file, as a change of one is a change of all.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
import zarr
from numpy import ndarray
from zarr.codecs import Crc32cCodec, ZstdCodec

SCHEMA_VERSION = 1
SEGMENT = 256  # steps per chunk of a time series; a region write covers whole chunks
SHARD = 16 * SEGMENT  # steps per file of a time series
WEIGHTS_CHUNK = 2**22  # bytes per chunk of weights
WEIGHTS_SHARD = 2**25  # bytes per file of weights: what is held in memory before it is written


class Variable(NamedTuple):
    """Dimensions after `step`, dtype, units and a description of one recorded quantity."""

    dims: tuple[str, ...]
    units: str
    long_name: str
    dtype: str = "float64"


MODE, COORDINATE = ("mode",), ("coordinate",)
VARIABLES: dict[str, Variable] = {
    "loss": Variable((), "loss", "training loss L(w)"),
    "accuracy": Variable((), "1", "fraction of the training labels that the network gets right"),
    "test_accuracy": Variable((), "1", "fraction of the test labels that the network gets right"),
    "gradient_norm_squared": Variable((), "loss^2 / weight^2", "squared norm of the gradient of L"),
    "effective_eigenvalues": Variable(MODE, "1", "leading eigenvalues of the effective Hessian P^-1 H; stable up to 2"),
    "eigen_residuals": Variable(MODE, "1", "residuals of the eigenpairs relative to the largest eigenvalue"),
    "tracked_modes": Variable((), "1", "number m of eigenvalues tracked", "int16"),
    "hessian_eigenvalues": Variable(MODE, "loss / weight^2", "leading eigenvalues of the Hessian itself"),
    "gradient_squared": Variable(COORDINATE, "loss^2 / weight^2", "squared gradient of single weights"),
    "predicted_gradient_squared": Variable(
        COORDINATE, "loss^2 / weight^2", "predicted time average of the discrete squared gradient of single weights"
    ),
    "state_total": Variable((), "loss^2 / weight^2", "the optimizer's EMA nu, summed over weights"),
    "state_coordinates": Variable(COORDINATE, "loss^2 / weight^2", "the optimizer's EMA nu of single weights"),
    "step_size": Variable((), "weight^2 / loss", "harmonic mean of the effective step sizes, the diagonal of P^-1"),
    "outputs": Variable(("example", "output"), "1", "network outputs on the first test examples"),
    "predicted_loss": Variable((), "loss", "predicted time average of the discrete loss, L + tr X"),
    "predicted_gradient_norm_squared": Variable(
        (), "loss^2 / weight^2", "predicted time average of the discrete |grad L|^2, |grad L|^2 + tr(H Sigma H)"
    ),
    "variances": Variable(MODE, "loss", "eigenvalues of Sigma in P-normalised units, largest first"),
    "displacement": Variable(MODE, "loss^1/2", "discrete minus central along each eigenvector of Sigma, P-normalised"),
    "oscillation": Variable(
        (), "loss^1/2", "iterate minus midpoint along the leading effective eigenvector, P-normalised"
    ),
    "critical_modes": Variable((), "1", "number k of modes in the complementarity problem", "int16"),
    "rank": Variable((), "1", "rank of Sigma", "int16"),
    "complementarity_gap": Variable((), "1", "relative gap of the complementarity problem's solution"),
    "complementarity_violation": Variable(
        (), "1", "relative violation of the constraint of the complementarity problem"
    ),
    "complementarity_monotonicity": Variable(
        (), "1", "smallest eigenvalue of the complementarity problem's operator, relative; negative: not monotone"
    ),
    "distance": Variable((), "weight", "Euclidean distance to the discrete iterate at the same step"),
}

_COMMON = (
    "loss",
    "gradient_norm_squared",
    "step_size",
    "outputs",
    "gradient_squared",
)
_ACCURACY = ("accuracy", "test_accuracy")
_STATE = ("state_total", "state_coordinates")
_SPECTRUM = ("effective_eigenvalues", "eigen_residuals", "tracked_modes", "hessian_eigenvalues")
_CENTRAL = (
    *_COMMON,
    *_ACCURACY,
    *_STATE,
    *_SPECTRUM,
    "distance",
    "predicted_loss",
    "predicted_gradient_norm_squared",
    "predicted_gradient_squared",
    "variances",
    "displacement",
    "critical_modes",
    "rank",
    "complementarity_gap",
    "complementarity_violation",
    "complementarity_monotonicity",
)
PROCESSES: dict[str, tuple[str, ...]] = {
    "discrete": (*_COMMON, *_ACCURACY, *_STATE),
    "midpoint": (*_COMMON, *_SPECTRUM, "oscillation"),
    "stable": (*_COMMON, *_ACCURACY, *_STATE, *_SPECTRUM, "distance"),
    "central": _CENTRAL,
    "ablated": _CENTRAL,
    "stationary": _CENTRAL,
    "stationary-ablated": _CENTRAL,
}


class Record(NamedTuple):
    """One step of a trajectory: the step, what was measured there, the weights `[p]` and the optimizer's state (numpy)."""

    step: int
    values: Mapping[str, Any]
    weights: ndarray
    state: tuple[ndarray, ...] = ()


class Shape(NamedTuple):
    """Sizes that a trajectory's store needs before its first record.

    Attributes:
        process: a key of `PROCESSES`.
        steps: number of records, at steps 0 ... steps - 1.
        modes: most eigenvalues that can be tracked.
        outputs: `(examples, outputs per example)` recorded.
        p: number of weights.
        weights_stride: weights and state are kept at every step that is a multiple of it; 0 keeps the first alone.
        weights_dtype: their dtype.
        coordinates: weights that are followed one by one, as indices.
        states: names and sizes of the parts of the optimizer's state.
        accuracies: those of `accuracy` and `test_accuracy` that are measured.
    """

    process: str
    steps: int
    modes: int
    outputs: tuple[int, int]
    p: int
    weights_stride: int = 1
    weights_dtype: str = "float32"
    coordinates: tuple[int, ...] = ()
    states: tuple[tuple[str, int], ...] = ()
    accuracies: tuple[str, ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        example, output = self.outputs
        return {"mode": self.modes, "example": example, "output": output, "coordinate": len(self.coordinates)}

    @property
    def variables(self) -> list[str]:
        """Names of the variables over `step` that there are."""
        full = any(size == self.p for _, size in self.states)
        absent = {"state_total": not self.states, "state_coordinates": not full}
        absent |= {name: name not in self.accuracies for name in _ACCURACY}
        return [
            name
            for name in PROCESSES[self.process]
            if not absent.get(name) and all(self.sizes[d] for d in VARIABLES[name].dims)
        ]

    @property
    def kept(self) -> dict[str, tuple[str, int]]:
        """What is kept at some steps only: its dimension and size."""
        states = {name: ("parameter" if size == self.p else f"{name}_entry", size) for name, size in self.states}
        return {"weights": ("parameter", self.p), **states}

    def keeps(self, step: int) -> bool:
        """Whether weights and state are kept at a step."""
        return step % self.weights_stride == 0 if self.weights_stride else step == 0

    @property
    def saved(self) -> ndarray:
        """The steps at which they are."""
        return np.arange(0, self.steps, self.weights_stride or self.steps)


def to_dataset(records: Iterable[Record], shape: Shape) -> xr.Dataset:
    """Records as a Dataset over `step`; vectors shorter than their dimension end in NaN. Weights and state as kept."""
    records = list(records)
    dataset = _series(records, shape)
    kept = [record for record in records if shape.keeps(record.step)]
    return dataset.assign(_kept(kept, shape)).assign_coords(
        saved_step=("saved_step", np.array([record.step for record in kept], dtype="int64"), _STEP)
    )


def _series(records: list[Record], shape: Shape) -> xr.Dataset:
    """What is recorded at every step."""
    data: dict[str, Any] = {}
    for name in shape.variables:
        variable = VARIABLES[name]
        values = _filled((len(records), *(shape.sizes[d] for d in variable.dims)), variable.dtype)
        for row, record in enumerate(records):
            value = record.values.get(name)
            if value is not None:
                values[(row, *(slice(n) for n in np.shape(value)))] = value
        data[name] = (("step", *variable.dims), values, {"units": variable.units, "long_name": variable.long_name})
    coords: dict[str, Any] = {"step": ("step", np.array([r.step for r in records], dtype="int64"), _STEP)}
    used = {dim for dims, *_ in data.values() for dim in dims}
    if "mode" in used:
        coords["mode"] = ("mode", np.arange(1, shape.modes + 1), _MODE)
    if "coordinate" in used:
        coords["coordinate"] = ("coordinate", np.array(shape.coordinates, dtype="int64"), _COORDINATE)
    return xr.Dataset(data, coords)


def _kept(records: list[Record], shape: Shape) -> dict[str, Any]:
    """What is kept at some steps only, over `saved_step`."""
    parts = {"weights": [r.weights for r in records]}
    parts |= {name: [r.state[i] for r in records] for i, (name, _) in enumerate(shape.states)}
    return {
        name: (
            ("saved_step", dim),
            np.array(parts[name], dtype=shape.weights_dtype).reshape(len(records), size),
            _kept_attrs(name),
        )
        for name, (dim, size) in shape.kept.items()
    }


def _kept_attrs(name: str) -> dict[str, str]:
    if name == "weights":
        return {"units": "weight", "long_name": "all network weights as one vector"}
    return {"units": "1", "long_name": f"the optimizer's state {name}, as the step uses it"}


_STEP = {"units": "optimizer steps", "long_name": "time: number of optimizer steps taken"}
_MODE = {"units": "1", "long_name": "rank of the mode, the largest eigenvalue first"}
_COORDINATE = {"units": "1", "long_name": "index of a weight that is followed on its own"}


def _filled(shape: tuple[int, ...], dtype: str) -> ndarray:
    return np.full(shape, np.nan if np.dtype(dtype).kind == "f" else -1, dtype=dtype)


class Writer:
    """Writes one trajectory into a staging store, segment by segment, and publishes it.

    A context: leaving it with an error removes the staging store.

    Args:
        target: the final path of the store.
        shape: its sizes.
        attrs: what identifies the run; deterministic, as the store's bytes are.
    """

    def __init__(self, target: Path, shape: Shape, attrs: Mapping[str, Any]):
        self.target, self.shape = Path(target), shape
        self.staging = self.target.with_name(f".{self.target.name}.partial")
        shutil.rmtree(self.staging, ignore_errors=True)
        self.staging.parent.mkdir(parents=True, exist_ok=True)
        self._buffer: list[Record] = []
        self._kept: list[Record] = []
        self._rows_written = 0
        self._create(attrs)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            shutil.rmtree(self.staging, ignore_errors=True)

    def append(self, record: Record) -> None:
        """Add the next record; it is on disk when its segment is full."""
        self._buffer.append(Record(record.step, record.values, np.empty(0)))  # a segment of weights would be large
        if self.shape.keeps(record.step):
            self._kept.append(record)
            if len(self._kept) == self._rows()[1]:
                self._flush_kept()
        if len(self._buffer) == SEGMENT:
            self._flush()

    def publish(self, **attrs: Any) -> Path:
        """Write what is left, add closing attributes, and move the store to its final name."""
        self._flush()
        self._flush_kept()
        root = zarr.open_group(self.staging, mode="r+")
        root.attrs.update(attrs)
        return _publish(self.staging, self.target)

    def _create(self, attrs: Mapping[str, Any]) -> None:
        shape = self.shape
        template = _series([Record(step, {}, np.empty(0)) for step in range(shape.steps)], shape)
        template = template.assign_coords(saved_step=("saved_step", shape.saved, _STEP))
        template.attrs = {"schema_version": SCHEMA_VERSION, "process": shape.process, **attrs}
        chunk = min(SEGMENT, shape.steps)
        shard = min(SHARD, -(-shape.steps // chunk) * chunk)
        encoding: dict[str, Any] = {}
        for name, variable in template.variables.items():
            lead = variable.dims == () or variable.dims[0] != "step" or name == "step"
            chunks = variable.shape if lead else (chunk, *variable.shape[1:])
            encoding[name] = {"compressors": _COMPRESSORS, "chunks": chunks}
            if not lead:
                encoding[name]["shards"] = (shard, *variable.shape[1:])
        template.to_zarr(self.staging, mode="w", zarr_format=3, consolidated=False, encoding=encoding)
        rows, shard_rows = self._rows()
        for name, (dim, size) in shape.kept.items():
            zarr.create_array(
                self.staging,
                name=name,
                shape=(len(shape.saved), size),
                chunks=(rows, size),
                shards=(shard_rows, size),
                dtype=shape.weights_dtype,
                compressors=_COMPRESSORS,
                fill_value=np.nan,
                dimension_names=("saved_step", dim),
                attributes=_kept_attrs(name),
            )

    def _rows(self) -> tuple[int, int]:
        """Rows of the chunks and shards of what is kept at some steps only."""
        row_bytes = self.shape.p * np.dtype(self.shape.weights_dtype).itemsize
        saved = len(self.shape.saved)
        rows = max(1, min(saved, WEIGHTS_CHUNK // row_bytes))
        return rows, rows * max(1, min(-(-saved // rows), WEIGHTS_SHARD // (rows * row_bytes)))

    def _flush(self) -> None:
        if self._buffer:
            segment = _series(self._buffer, self.shape).drop_vars(["step", "mode", "coordinate"], errors="ignore")
            start = self._buffer[0].step
            region = {"step": slice(start, start + len(self._buffer))}
            segment.to_zarr(self.staging, region=region, consolidated=False)
            self._buffer = []

    def _flush_kept(self) -> None:
        if self._kept:
            rows = slice(self._rows_written, self._rows_written + len(self._kept))
            kept = xr.Dataset(_kept(self._kept, self.shape))
            kept.to_zarr(self.staging, region={"saved_step": rows}, consolidated=False)
            self._rows_written = rows.stop
            self._kept = []


_COMPRESSORS = (ZstdCodec(level=3), Crc32cCodec())


def write_dataset(target: Path, dataset: xr.Dataset) -> Path:
    """Publish a small Dataset as a store of its own."""
    staging = target.with_name(f".{target.name}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    encoding = {name: {"compressors": _COMPRESSORS} for name in dataset.variables}
    dataset = dataset.drop_encoding().assign_attrs(schema_version=SCHEMA_VERSION)
    dataset.to_zarr(staging, mode="w", zarr_format=3, consolidated=False, encoding=encoding)
    return _publish(staging, target)


def _publish(staging: Path, target: Path) -> Path:
    """Gather the metadata of all arrays in that of the store, for readers that open it by that alone, and rename."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(staging)
    shutil.rmtree(target, ignore_errors=True)
    os.rename(staging, target)
    return target


def open_trajectory(path: Path | str) -> xr.Dataset:
    """A published store, lazily."""
    return xr.open_zarr(path, consolidated=True)


def canonical(value: Any) -> str:
    """Sorted JSON, as attributes and digests use it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
