"""Trajectories: the recorded variables of each process, and the Dataset made from records. It contains no physics.

A trajectory is a sequence of `Record`s, one per optimizer step. In memory it becomes an xarray Dataset; `zarr_writer`
writes the same Dataset as it grows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy import ndarray

from ..common.errors import UnusableData

SCHEMA_VERSION = 1


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
    "state_total": Variable((), "1", "the optimizer's state {}, summed over its entries"),
    "state_coordinates": Variable(COORDINATE, "1", "the optimizer's state {} of single weights"),
    "step_size": Variable((), "weight^2 / loss", "harmonic mean of the effective step sizes, the diagonal of P^-1"),
    "outputs": Variable(("example", "output"), "1", "network outputs on the first test examples"),
    "predicted_loss": Variable((), "loss", "predicted time average of the discrete loss, L + <H, Sigma> / 2"),
    "predicted_gradient_norm_squared": Variable(
        (), "loss^2 / weight^2", "predicted time average of the discrete |grad L|^2, |grad L|^2 + <H^2, Sigma>"
    ),
    "variances": Variable(MODE, "loss", "eigenvalues of Sigma in P-normalised units, largest first"),
    "displacement": Variable(MODE, "loss^1/2", "discrete minus central along each eigenvector of Sigma, P-normalised"),
    "oscillation": Variable(
        MODE, "loss^1/2", "iterate minus midpoint along each effective eigenvector, P-normalised; signs are continuous"
    ),
    "direction": Variable(
        MODE, "1", "number of the direction that each eigenvector continues from the step before", "int16"
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
    "step_error": Variable(
        (),
        "1",
        "estimated error of the unit of time that ends at this step, relative to its move; the largest of its parts",
    ),
    "step_parts": Variable(
        (), "1", "number of parts into which error control divided the unit of time that ends at this step", "int16"
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
_ERROR = ("step_error", "step_parts")
_SPECTRUM = ("effective_eigenvalues", "eigen_residuals", "tracked_modes", "hessian_eigenvalues")
_CENTRAL = (
    *_COMMON,
    *_ACCURACY,
    *_STATE,
    *_SPECTRUM,
    *_ERROR,
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
    "midpoint": (*_COMMON, *_SPECTRUM, "oscillation", "direction"),
    "stable": (*_COMMON, *_ACCURACY, *_STATE, *_SPECTRUM, *_ERROR, "distance"),
    "central": _CENTRAL,
    "ablated": _CENTRAL,
    "stationary": _CENTRAL,
    "stationary-ablated": _CENTRAL,
}


class Record(NamedTuple):
    """One step of a trajectory: the step, the measured values, the weights `[p]` and the optimizer's state (numpy).

    `resume_state` is the state from which the process resumes after this step.
    """

    step: int
    values: Mapping[str, Any]
    weights: ndarray
    state: tuple[ndarray, ...] = ()
    resume_state: Any = None


class Column(NamedTuple):
    """A variable of a table: dimensions, sizes, dtype and attributes of each row."""

    dims: tuple[str, ...]
    sizes: tuple[int, ...]
    dtype: str
    attrs: dict[str, str]


class Table(NamedTuple):
    """Variables that share an axis."""

    axis: str
    columns: dict[str, Column]

    def empty(self, rows: int) -> dict[str, ndarray]:
        """Return arrays of a number of rows without known values: NaN, or -1 for whole numbers."""
        return self.cleared({name: np.empty((rows, *c.sizes), c.dtype) for name, c in self.columns.items()})

    def cleared(self, arrays: dict[str, ndarray]) -> dict[str, ndarray]:
        """Return the same arrays, filled in place with the value for unknown: NaN, or -1 for whole numbers."""
        for array in arrays.values():
            array.fill(np.nan if array.dtype.kind == "f" else -1)
        return arrays

    def put(self, arrays: dict[str, ndarray], row: int, values: Mapping[str, Any]) -> None:
        """Set the known values of a row; vectors may be shorter than their dimension."""
        for name, array in arrays.items():
            value = values.get(name)
            if value is not None:
                array[(row, *(slice(n) for n in np.shape(value)))] = value

    def variables(self, arrays: Mapping[str, ndarray]) -> dict[str, Any]:
        """Return the arrays with dimensions and attributes, in the form that xarray takes."""
        return {name: ((self.axis, *c.dims), arrays[name], c.attrs) for name, c in self.columns.items()}


class Shape(NamedTuple):
    """Sizes that a trajectory's store needs before its first record.

    Attributes:
        process: a key of `PROCESSES`.
        steps: number of records, at steps 0 ... steps - 1.
        modes: largest number of eigenvalues that can be tracked.
        outputs: `(examples, outputs per example)` recorded.
        p: number of weights.
        weights_stride: weights and state are kept at every step that is a multiple of it; 0 keeps those of step 0 only.
        weights_dtype: their dtype.
        coordinates: indices of the weights that are recorded individually.
        states: names and sizes of the parts of the optimizer's state.
        state_units: their units; "1" where none are given.
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
    state_units: tuple[str, ...] = ()
    accuracies: tuple[str, ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        example, output = self.outputs
        return {"mode": self.modes, "example": example, "output": output, "coordinate": len(self.coordinates)}

    @property
    def variables(self) -> list[str]:
        """Names of the variables over `step` that this trajectory has."""
        full = any(size == self.p for _, size in self.states)
        absent = {"state_total": not self.states, "state_coordinates": not full}
        absent |= {name: name not in self.accuracies for name in _ACCURACY}
        return [
            name
            for name in PROCESSES[self.process]
            if not absent.get(name) and all(self.sizes[d] for d in VARIABLES[name].dims)
        ]

    @property
    def series(self) -> Table:
        """Table of the variables recorded at every step."""
        columns = {}
        for name in self.variables:
            variable = VARIABLES[name]
            sizes = tuple(self.sizes[d] for d in variable.dims)
            attrs = {"units": variable.units, "long_name": variable.long_name}
            if name in _STATE:
                part, units = self.states[0][0], (*self.state_units, "1")[0]
                attrs = {"units": units, "long_name": variable.long_name.format(part)}
            columns[name] = Column(variable.dims, sizes, variable.dtype, attrs)
        return Table("step", columns)

    @property
    def kept(self) -> Table:
        """Table of the variables kept at some steps only."""

        def column(dim: str, size: int, units: str, long_name: str) -> Column:
            return Column((dim,), (size,), self.weights_dtype, {"units": units, "long_name": long_name})

        columns = {"weights": column("parameter", self.p, "weight", "all network weights as one vector")}
        units = (*self.state_units, *["1"] * len(self.states))
        for (name, size), unit in zip(self.states, units, strict=False):
            dim = "parameter" if size == self.p else f"{name}_entry"
            columns[name] = column(dim, size, unit, f"the optimizer's state {name}, as the step uses it")
        return Table("saved_step", columns)

    def kept_values(self, record: Record) -> dict[str, ndarray]:
        """Return the values of a record that are kept at some steps only."""
        names = [name for name, _ in self.states]
        return {"weights": record.weights, **dict(zip(names, record.state, strict=False))}

    def coordinate_variables(self, steps: ndarray, saved: ndarray) -> dict[str, Any]:
        """Return the coordinates of a Dataset with these steps and saved steps."""
        found: dict[str, Any] = {"step": ("step", steps, _STEP), "saved_step": ("saved_step", saved, _STEP)}
        used = {dim for name in self.variables for dim in VARIABLES[name].dims}
        if "mode" in used:
            found["mode"] = ("mode", np.arange(1, self.modes + 1), _MODE)
        if "coordinate" in used:
            found["coordinate"] = ("coordinate", np.array(self.coordinates, dtype="int64"), _COORDINATE)
        return found

    def keeps(self, step: int) -> bool:
        """Return whether weights and state are kept at a step."""
        return step % self.weights_stride == 0 if self.weights_stride else step == 0

    @property
    def saved(self) -> ndarray:
        """Steps at which weights and state are kept."""
        return np.arange(0, self.steps, self.weights_stride or self.steps)


def to_dataset(records: Iterable[Record], shape: Shape) -> xr.Dataset:
    """Return records as a Dataset over `step`, with weights and state at the steps at which they are kept.

    Vectors shorter than their dimension end in NaN.
    """
    records = list(records)
    kept = [record for record in records if shape.keeps(record.step)]
    series, weights = shape.series.empty(len(records)), shape.kept.empty(len(kept))
    for row, record in enumerate(records):
        shape.series.put(series, row, record.values)
    for row, record in enumerate(kept):
        shape.kept.put(weights, row, shape.kept_values(record))
    steps, saved = (np.array([record.step for record in each], dtype="int64") for each in (records, kept))
    variables = shape.series.variables(series) | shape.kept.variables(weights)
    return xr.Dataset(variables, shape.coordinate_variables(steps, saved))


_STEP = {"units": "optimizer steps", "long_name": "time: number of optimizer steps taken"}
_MODE = {"units": "1", "long_name": "rank of the mode, the largest eigenvalue first"}
_COORDINATE = {"units": "1", "long_name": "index of a weight that is followed on its own"}


def open_trajectory(path: Path | str) -> xr.Dataset:
    """Open a published store lazily and return it.

    Raises:
        FileNotFoundError: there is no such store.
        UnusableData: another version of this project, or another program, wrote it.
    """
    store = xr.open_zarr(path, consolidated=True)
    if (version := store.attrs.get("schema_version")) != SCHEMA_VERSION:
        raise UnusableData(
            f"{path}: its schema_version is {version}, and this version of centralflows reads {SCHEMA_VERSION}; read it with "
            "the version that wrote it, or remove it with its manifest and make it again"
        )
    return store


def open_run(folder: Path | str, steps: int | None = None) -> dict[str, xr.Dataset]:
    """Open the stores that `Experiment.run(save_to=folder)` wrote and return them by process, as `run` returns them.

    Args:
        steps: at most so many steps; all by default.

    Raises:
        UnusableData: there is no store in the folder.
    """
    folder = Path(folder)
    if (folder / "zarr.json").exists():
        raise UnusableData(f"{folder} is one trajectory: open_trajectory opens it")
    found = {path.stem: trimmed(open_trajectory(path), steps) for path in sorted(folder.glob("*.zarr"))}
    if not found:
        unfinished = any(folder.glob(".*.partial"))
        why = "holds an unfinished run; the same call of run() goes on" if unfinished else "holds no store of a run"
        raise UnusableData(f"{folder} {why if folder.exists() else 'does not exist'}")
    return {process: found[process] for process in PROCESSES if process in found}


def trimmed(dataset: xr.Dataset, steps: int | None = None) -> xr.Dataset:
    """Return a stored trajectory without the steps that a process did not reach, and without modes never tracked."""
    known = dataset.loss.notnull().values
    reached = int(known.nonzero()[0].max(initial=-1)) + 1
    steps = reached if steps is None else min(reached, steps)
    kept = int((dataset.saved_step < steps).sum())
    return tracked_only(dataset.isel(step=slice(steps), saved_step=slice(kept)))


def tracked_only(dataset: xr.Dataset) -> xr.Dataset:
    """Return a trajectory without modes that were never tracked."""
    if "tracked_modes" not in dataset or not dataset.sizes["step"]:
        return dataset
    return dataset.isel(mode=slice(int(dataset.tracked_modes.max())))


def canonical(value: Any) -> str:
    """Return sorted JSON, the form used for attributes and digests."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
