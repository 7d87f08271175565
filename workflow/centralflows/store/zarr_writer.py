"""Trajectories as chunked Zarr stores.

A store grows in its own folder (`staging`) and is published by one rename, so a store under its final name is always
complete. A file is written once, when all of its rows are known, while the next rows are computed. Rows that wait for
their file are part of the checkpoint.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from .trajectory import SCHEMA_VERSION, Record, Shape, Table

CHUNK = 256  # steps per chunk of a time series
SHARD = 16 * CHUNK  # steps per file of a time series
WEIGHTS_CHUNK = 2**25  # bytes per chunk of weights, one file each: assembling it from parts takes half as long again

_COMPRESSORS = (ZstdCodec(level=1), Crc32cCodec())  # at level 3 the files are as large, and take longer to write
_WEIGHTS_COMPRESSORS = (Crc32cCodec(),)  # zstd would save 8 per cent of the weights' size, for twice the time


class Rows:
    """Consecutive rows of a table in a store, collected until they fill a file.

    Args:
        store: its path.
        table: their variables.
        total: number of all rows.
        shard: rows in a file.
        background: writes full files, one at a time.
    """

    def __init__(self, store: Path, table: Table, *, total: int, shard: int, background: Executor):
        self.store, self.table, self.background = store, table, background
        self.start = self.count = 0
        self.total, self.size = total, min(shard, total)
        self.arrays, self._spare = table.empty(self.size), None
        self._writing: Future | None = None

    def append(self, values: Mapping[str, Any]) -> None:
        """Add a row, and start writing the file if it is full."""
        self.table.put(self.arrays, self.count, values)
        self.count += 1
        if self.count == self.size:
            self.settle()
            self._writing = self.background.submit(self._write, self.store, self.start, self.arrays)
            self.start, self.count = self.start + self.count, 0
            if self.start < self.total:
                # Two buffers alternate: allocating one anew costs as much as filling it.
                spare = self.table.empty(self.size) if self._spare is None else self.table.cleared(self._spare)
                self.arrays, self._spare = spare, self.arrays

    def settle(self) -> None:
        """Wait until all full files are in the store, and raise any error of their writing."""
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def write(self, store: Path) -> None:
        """Write the rows since the last full file into a store."""
        if self.count:
            self._write(store, self.start, {name: array[: self.count] for name, array in self.arrays.items()})

    def _write(self, store: Path, start: int, arrays: dict[str, np.ndarray]) -> None:
        count = len(next(iter(arrays.values())))
        region = {self.table.axis: slice(start, start + count)}
        xr.Dataset(self.table.variables(arrays)).to_zarr(store, region=region, consolidated=False)

    def resume_state(self) -> dict[str, Any]:
        arrays = {name: array[: self.count] for name, array in self.arrays.items()}
        return {"start": self.start, "count": self.count, "arrays": arrays}

    def resume(self, resume_state: Mapping[str, Any]) -> None:
        self.start, self.count = resume_state["start"], resume_state["count"]
        for name, array in resume_state["arrays"].items():
            self.arrays[name][: self.count] = array


class Writer:
    """A writer of one trajectory.

    Args:
        store: folder in which the store grows.
        shape: its sizes.
        attrs: attributes that identify the run; they must be deterministic, as the store's bytes are.
        resume_state: resume state of a writer of the same store, taken when the store had the rows that it has now.
    """

    def __init__(
        self, store: Path, shape: Shape, attrs: Mapping[str, Any], resume_state: Mapping[str, Any] | None = None
    ):
        self.store, self.shape = store, shape
        if resume_state is None:
            self._create(attrs)
        background = ThreadPoolExecutor(1, "writer")
        self._series = Rows(store, shape.series, total=shape.steps, shard=SHARD, background=background)
        kept, rows = len(shape.saved), self._kept_rows()
        self._kept = Rows(store, shape.kept, total=kept, shard=rows, background=background)
        if resume_state is not None:
            self._series.resume(resume_state["series"])
            self._kept.resume(resume_state["kept"])

    def append(self, record: Record) -> None:
        """Add the next record."""
        self._series.append(record.values)
        if self.shape.keeps(record.step):
            self._kept.append(self.shape.kept_values(record))

    def resume_state(self) -> dict[str, Any]:
        """Return the rows that are not in the store, after all full files are written."""
        self._settle()
        return {"series": self._series.resume_state(), "kept": self._kept.resume_state()}

    def publish(self, target: Path, **attrs: Any) -> Path:
        """Publish a complete store under its final name, with closing attributes.

        The files of the growing store stay unchanged.
        """
        self._settle()
        copy = _temporary(target)
        # Zarr replaces a file instead of changing it, so a rewritten file no longer shares its data with the linked
        # one.
        shutil.copytree(self.store, copy, copy_function=_link)
        self._series.write(copy)
        self._kept.write(copy)
        zarr.open_group(copy, mode="r+").attrs.update(attrs)
        return _publish(copy, target)

    def _settle(self) -> None:
        for rows in (self._series, self._kept):
            rows.settle()

    def _create(self, attrs: Mapping[str, Any]) -> None:
        shape = self.shape
        coordinates = shape.coordinate_variables(np.arange(shape.steps), shape.saved)
        template = xr.Dataset(shape.series.variables(shape.series.empty(shape.steps)), coordinates)
        template.attrs = {"schema_version": SCHEMA_VERSION, "process": shape.process, **attrs}
        chunk = min(CHUNK, shape.steps)
        shard = min(SHARD, -(-shape.steps // chunk) * chunk)
        encoding: dict[str, Any] = {}
        for name, variable in template.variables.items():
            lead = variable.dims == () or variable.dims[0] != "step" or name == "step"
            chunks = variable.shape if lead else (chunk, *variable.shape[1:])
            encoding[name] = {"compressors": _COMPRESSORS, "chunks": chunks}
            if not lead:
                encoding[name]["shards"] = (shard, *variable.shape[1:])
                if variable.dtype.kind == "i":
                    encoding[name]["fill_value"] = -1  # unknown rows make no file, which would later be replaced
        template.to_zarr(self.store, mode="w", zarr_format=3, consolidated=False, encoding=encoding)
        for name, column in shape.kept.columns.items():
            zarr.create_array(
                self.store,
                name=name,
                shape=(len(shape.saved), *column.sizes),
                chunks=(self._kept_rows(), *column.sizes),
                dtype=column.dtype,
                compressors=_WEIGHTS_COMPRESSORS,
                fill_value=np.nan,
                dimension_names=("saved_step", *column.dims),
                attributes=column.attrs,
            )

    def _kept_rows(self) -> int:
        """Return the rows of a chunk of variables kept at some steps only.

        Chunks have nearly equal sizes, because the last one is padded to the full size.
        """
        most = max(1, WEIGHTS_CHUNK // (self.shape.p * np.dtype(self.shape.weights_dtype).itemsize))
        saved = len(self.shape.saved)
        return -(-saved // -(-saved // most))


def write_dataset(target: Path, dataset: xr.Dataset) -> Path:
    """Publish a small Dataset as a separate store and return its path."""
    copy = _temporary(target)
    encoding = {name: {"compressors": _COMPRESSORS} for name in dataset.variables}
    dataset = dataset.drop_encoding().assign_attrs(schema_version=SCHEMA_VERSION)
    dataset.to_zarr(copy, mode="w", zarr_format=3, consolidated=False, encoding=encoding)
    return _publish(copy, target)


def _temporary(target: Path) -> Path:
    """Return a temporary path beside the target, after removing the remains of a killed process."""
    copy = target.with_name(f".{target.name}.publishing")
    shutil.rmtree(copy, ignore_errors=True)
    return copy


def _publish(copy: Path, target: Path) -> Path:
    """Consolidate the metadata of all arrays for readers that open the store by them alone, and rename the store."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(copy)
    shutil.rmtree(target, ignore_errors=True)
    os.rename(copy, target)
    return target


def _link(source: str, copy: str) -> str:
    try:
        os.link(source, copy)
    except OSError:  # a file system without hard links
        shutil.copy2(source, copy)
    return copy
