"""Stores hold exactly what was recorded, appear whole or not at all, are the same bytes every time, and betray damage.

Long, as records, rows, files and publishing are tested on the same stores.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from centralflows.common.errors import UnusableData
from centralflows.provenance import manifest
from centralflows.store import zarr_writer
from centralflows.store.trajectory import (
    PROCESSES,
    SCHEMA_VERSION,
    VARIABLES,
    Record,
    Shape,
    canonical,
    open_trajectory,
    to_dataset,
)
from centralflows.store.zarr_writer import Writer, write_dataset

SEGMENT = 8


@pytest.fixture
def small(monkeypatch):
    """Segments of 8 steps, two to a file; weights of 5 x 4 bytes in chunks of up to 6 rows."""
    monkeypatch.setattr(zarr_writer, "CHUNK", SEGMENT)
    monkeypatch.setattr(zarr_writer, "SHARD", 2 * SEGMENT)
    monkeypatch.setattr(zarr_writer, "WEIGHTS_CHUNK", 120)


def shape(steps: int, *, process: str = "central", stride: int = 1, p: int = 5, dtype: str = "float32") -> Shape:
    return Shape(process, steps, 3, (2, 4), p, stride, dtype)


def records(shape: Shape, steps: int | None = None) -> list[Record]:
    """Random records; vectors over modes are one to three long, as the number of tracked modes varies."""
    rng = np.random.default_rng(0)
    made = []
    for step in range(shape.steps if steps is None else steps):
        values = {}
        for name in shape.variables:
            sizes = [shape.sizes[dim] for dim in VARIABLES[name].dims]
            if VARIABLES[name].dims == ("mode",):
                sizes = [1 + step % 3]
            values[name] = rng.integers(0, 9) if VARIABLES[name].dtype == "int16" else rng.standard_normal(sizes)
        columns = shape.kept.columns.values()
        weights, *state = (rng.standard_normal(column.sizes).astype(column.dtype) for column in columns)
        made.append(Record(step, values, weights, tuple(state)))
    return made


def write(target: Path, shape: Shape, rows: list[Record]) -> Path:
    with tempfile.TemporaryDirectory() as folder:
        made = Writer(Path(folder) / "growing.zarr", shape, {"config": "{}"})
        for row in rows:
            made.append(row)
        target.parent.mkdir(parents=True, exist_ok=True)
        return made.publish(target, closing="done")


def files(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def same(found: xr.Dataset, expected: xr.Dataset) -> None:
    """Names, dimensions, types, values and attributes of all variables agree, bit for bit."""
    xr.testing.assert_identical(found.drop_attrs(deep=False), expected.drop_attrs(deep=False))
    for name, variable in expected.variables.items():
        assert found[name].dtype == variable.dtype, name


# -- what is read is what was recorded ----------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [0, 1, 7])
@pytest.mark.parametrize("steps", [1, 5, SEGMENT, SEGMENT + 1, 2 * SEGMENT, 5 * SEGMENT + 3])
def test_a_store_holds_what_was_recorded(tmp_path, small, steps, stride):
    sizes = shape(steps, stride=stride)
    rows = records(sizes)
    same(open_trajectory(write(tmp_path / "x.zarr", sizes, rows)).load(), to_dataset(rows, sizes))


@pytest.mark.parametrize("process", PROCESSES)
def test_every_process_is_stored_at_the_real_sizes(tmp_path, process):
    sizes = shape(zarr_writer.CHUNK + 3, process=process, stride=50, dtype="float64")
    accuracies = ("accuracy", "test_accuracy")
    sizes = sizes._replace(coordinates=(1, 3), states=(("nu", sizes.p), ("count", 1)), accuracies=accuracies)
    rows = records(sizes)
    found = open_trajectory(write(tmp_path / "x.zarr", sizes, rows)).load()
    same(found, to_dataset(rows, sizes))
    assert set(found.data_vars) == {*PROCESSES[process], "weights", "nu", "count"}
    assert found.nu.dims == ("saved_step", "parameter") and found["count"].dims == ("saved_step", "count_entry")


def test_a_record_by_hand(tmp_path):
    sizes = Shape("midpoint", 3, 2, (0, 0), 2, 2)
    rows = [
        Record(0, {"loss": 0.5, "effective_eigenvalues": [2.0, 1.0], "tracked_modes": 2}, np.array([1, 2], "float32")),
        Record(1, {"loss": 0.25, "effective_eigenvalues": [1.5], "tracked_modes": 1}, np.array([3, 4], "float32")),
        Record(2, {"loss": None}, np.array([5, 6], "float32")),
    ]
    found = open_trajectory(write(tmp_path / "x.zarr", sizes, rows))
    np.testing.assert_array_equal(found.loss, [0.5, 0.25, np.nan])
    np.testing.assert_array_equal(found.effective_eigenvalues, [[2.0, 1.0], [1.5, np.nan], [np.nan, np.nan]])
    np.testing.assert_array_equal(found.tracked_modes, [2, 1, -1])  # missing, as integers have no NaN
    np.testing.assert_array_equal(found.weights, [[1, 2], [5, 6]])
    assert found.saved_step.values.tolist() == [0, 2] and found["mode"].values.tolist() == [1, 2]
    assert "outputs" not in found  # none were asked for


@pytest.mark.parametrize("known", [0, 1, SEGMENT - 1, SEGMENT, 2 * SEGMENT + 1])
@pytest.mark.parametrize("stride", [0, 1, 7])
def test_what_ends_early_is_missing_from_there_on(tmp_path, small, known, stride):
    sizes = shape(3 * SEGMENT, stride=stride)
    rows = records(sizes, known)
    found = open_trajectory(write(tmp_path / "x.zarr", sizes, rows)).load()
    written = to_dataset(rows, sizes)
    assert found.sizes["step"] == 3 * SEGMENT
    dimensions = {"step": slice(known), "saved_step": slice(written.sizes.get("saved_step", 0))}
    same(found.isel({dim: part for dim, part in dimensions.items() if dim in found.dims}), written)
    for name, variable in found.data_vars.items():
        if "step" in variable.dims:
            after = variable.values[known:]
            assert (after == -1).all() if variable.dtype == "int16" else np.isnan(after).all(), name
    if stride:
        assert np.isnan(found.weights.values[written.sizes["saved_step"] :]).all()


def test_a_plain_reader_is_enough(tmp_path, small):
    path = write(tmp_path / "x.zarr", shape(20, stride=7), records(shape(20, stride=7)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = xr.open_zarr(path)
    same(found.load(), open_trajectory(path).load())
    assert found.attrs == {"schema_version": SCHEMA_VERSION, "process": "central", "config": "{}", "closing": "done"}


@pytest.mark.parametrize("version", [None, 0, SCHEMA_VERSION + 1, "1"])
def test_a_store_of_another_version_is_refused_with_the_cure(tmp_path, version):
    store = write_dataset(tmp_path / "old.zarr", xr.Dataset({"x": ("step", np.arange(3.0))}))
    metadata = store / "zarr.json"  # where zarr consolidates all attributes
    group = json.loads(metadata.read_text())
    del group["attributes"]["schema_version"]
    if version is not None:
        group["attributes"]["schema_version"] = version
    metadata.write_text(json.dumps(group))
    with pytest.raises(UnusableData) as error:
        open_trajectory(store)
    assert str(error.value).startswith(
        f"{store}: its schema_version is {version}, and this version of centralflows reads"
    )
    assert "remove it with its manifest and make it again" in str(error.value)


def test_the_time_stamp_of_snakemake_does_no_harm(tmp_path, small):
    path = write(tmp_path / "x.zarr", shape(3), records(shape(3)))
    (path / ".snakemake_timestamp").touch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_trajectory(path).sizes["step"] == 3


@pytest.mark.parametrize("process", PROCESSES)
def test_every_variable_says_what_it_is(tmp_path, small, process):
    found = open_trajectory(write(tmp_path / "x.zarr", shape(3, process=process), records(shape(3, process=process))))
    for name, variable in found.variables.items():
        assert variable.attrs.get("units") and variable.attrs.get("long_name"), name
        assert variable.dims, name


# -- whole or not at all ------------------------------------------------------------------------------------------


def test_nothing_stands_under_the_final_name_before_it_is_whole(tmp_path, small):
    target = tmp_path / "x.zarr"
    sizes = shape(3 * SEGMENT)
    made = Writer(tmp_path / "growing" / "x.zarr", sizes, {})
    for row in records(sizes):
        made.append(row)
        assert not target.exists()
    assert made.publish(target) == target
    assert {path.name for path in tmp_path.iterdir()} == {"x.zarr", "growing"}  # and nothing beside it


def test_what_was_left_by_a_killed_publication_is_cleared(tmp_path, small):
    target, sizes = tmp_path / "x.zarr", shape(3 * SEGMENT)
    left = target.with_name(".x.zarr.publishing")
    left.mkdir()
    (left / "zarr.json").write_text("{")
    write(target, sizes, records(sizes))
    assert files(target) == files(write(tmp_path / "fresh" / "x.zarr", sizes, records(sizes)))
    assert {path.name for path in tmp_path.iterdir()} == {"x.zarr", "fresh"}


def test_publishing_leaves_what_grew_as_it_was(tmp_path, small):
    """So that it can be published again, should the process be killed before the store is recorded."""
    sizes = shape(5 * SEGMENT + 3, stride=2)
    made = Writer(tmp_path / "growing.zarr", sizes, {})
    for row in records(sizes):
        made.append(row)
    made.resume_state()  # waits for what is being written
    before = files(made.store)
    first = files(made.publish(tmp_path / "x.zarr", closing="done"))
    assert files(made.store) == before
    assert files(made.publish(tmp_path / "x.zarr", closing="done")) == first


@pytest.mark.parametrize("stride", [0, 1, 7])
def test_files_once_written_never_change(tmp_path, small, stride):
    sizes = shape(5 * SEGMENT + 3, stride=stride)
    made, known = Writer(tmp_path / "growing.zarr", sizes, {}), {}
    for row in records(sizes):
        made.append(row)
        made.resume_state()
        now = files(made.store)
        assert known.items() <= now.items()
        known = now


@pytest.mark.parametrize("stride", [0, 1, 7])
@pytest.mark.parametrize("step", [0, 1, SEGMENT, 2 * SEGMENT, 2 * SEGMENT + 1, 5 * SEGMENT + 3])
def test_a_writer_goes_on_from_its_position(tmp_path, small, stride, step):
    sizes = shape(5 * SEGMENT + 3, stride=stride)
    rows = records(sizes)
    first = Writer(tmp_path / "growing.zarr", sizes, {"config": "{}"})
    for row in rows[:step]:
        first.append(row)
    second = Writer(first.store, sizes, {"config": "{}"}, first.resume_state())
    for row in rows[step:]:
        second.append(row)
    second.publish(tmp_path / "x.zarr", closing="done")
    assert files(tmp_path / "x.zarr") == files(write(tmp_path / "unbroken.zarr", sizes, rows))


@pytest.mark.parametrize("then", [lambda made: made.resume_state(), lambda made: made.publish(made.store / "x.zarr")])
def test_a_file_that_could_not_be_written_is_an_error_before_anything_counts_on_it(tmp_path, small, then):
    """It is written while the next rows come in."""
    sizes = shape(4 * SEGMENT)
    made = Writer(tmp_path / "growing.zarr", sizes, {})
    shutil.rmtree(made.store)
    made.store.write_text("in its place")
    rows = records(sizes)
    for row in rows[:6]:
        made.append(row)
    with pytest.raises(Exception, match=r"growing\.zarr"):
        then(made)
    with pytest.raises(Exception, match=r"growing\.zarr"):
        for row in rows[6:]:
            made.append(row)


def test_a_store_replaces_the_one_before(tmp_path, small):
    write(tmp_path / "x.zarr", shape(30), records(shape(30)))
    write(tmp_path / "x.zarr", shape(4), records(shape(4)))
    same(open_trajectory(tmp_path / "x.zarr").load(), to_dataset(records(shape(4)), shape(4)))


@pytest.mark.parametrize("stride", [0, 1, 7])
def test_the_same_records_are_the_same_bytes(tmp_path, small, stride):
    sizes = shape(5 * SEGMENT + 3, stride=stride)
    one, two = (files(write(tmp_path / name / "x.zarr", sizes, records(sizes))) for name in "ab")
    assert one == two
    assert len(one) > 20


# -- damage -------------------------------------------------------------------------------------------------------


def test_a_flipped_bit_anywhere_in_the_data_is_found_on_reading(tmp_path, small):
    sizes = Shape("stable", 20, 3, (1, 2), 5, 7)
    path = write(tmp_path / "x.zarr", sizes, records(sizes))
    chunks = [name for name in files(path) if not name.endswith("zarr.json")]
    # the coordinates and the variables of two shards (16 and 4 steps), and three rows of weights
    assert len(chunks) == len({name.split("/")[0] for name in chunks}) + len(sizes.variables)
    for name in chunks:
        file = path / name
        content = file.read_bytes()
        for position in {0, len(content) // 3, len(content) // 2, len(content) - 5, len(content) - 1}:
            file.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
            with pytest.raises(Exception):  # noqa: B017 (zarr raises what its codecs do)
                open_trajectory(path).load()
        file.write_bytes(content)
    open_trajectory(path).load()


def test_a_manifest_finds_what_reading_does_not(tmp_path, small):
    path = write(tmp_path / "x.zarr", shape(20), records(shape(20)))
    sealed = manifest.manifest_path(path)
    manifest.write_manifest(sealed, [path], {})
    (path / "loss" / "c" / "1").unlink()
    assert np.isnan(open_trajectory(path).loss.values[16:]).all()  # Zarr takes a missing chunk for a missing value
    with pytest.raises(manifest.ManifestError, match=r"x\.zarr/loss/c/1: missing"):
        manifest.verify_manifest(sealed)


# -- few files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1000, 4000])
def test_a_store_has_few_files(tmp_path, steps):
    """At most 70 files up to 4096 steps: one of metadata and one of data per array, of which there are 33 at most."""
    sizes = Shape("central", steps, 8, (3, 4), 50, coordinates=(1, 2), states=(("nu", 50),))
    row = records(sizes, 1)[0]
    path = write(tmp_path / "x.zarr", sizes, [row._replace(step=step) for step in range(steps)])
    assert len(files(path)) <= 70


@pytest.mark.parametrize(("steps", "rows"), [(20, [5, 5, 5, 5]), (13, [5, 5, 5]), (6, [6]), (7, [4, 4])])
def test_weights_fill_files_evenly_up_to_their_limit(tmp_path, small, steps, rows):
    """A row is 20 bytes, so files of 120 bytes hold 6; each has the 4 bytes of its checksum."""
    sizes = shape(steps)
    found = files(write(tmp_path / "x.zarr", sizes, records(sizes)) / "weights")
    assert {name: len(content) for name, content in found.items() if name != "zarr.json"} == {
        f"c/{i}/0": 20 * count + 4 for i, count in enumerate(rows)
    }


def test_a_row_of_weights_larger_than_a_file_is_stored(tmp_path, small):
    sizes = shape(4, p=100)
    rows = records(sizes)
    path = write(tmp_path / "x.zarr", sizes, rows)
    same(open_trajectory(path).load(), to_dataset(rows, sizes))
    assert len(files(path / "weights")) == 5


def test_what_waits_to_be_written_is_bounded(tmp_path, small):
    sizes = shape(50)
    made = Writer(tmp_path / "growing.zarr", sizes, {})
    for row in records(sizes):
        made.append(row)
        held = made.resume_state()
        assert held["series"]["count"] < 2 * SEGMENT and held["kept"]["count"] < 6


# -- datasets and helpers -----------------------------------------------------------------------------------------


def test_a_small_dataset_is_published_whole(tmp_path):
    step = np.arange(5)
    dataset = xr.Dataset(
        {"loss_average": ("step", step / 2, {"units": "loss", "long_name": "average"})},
        {"step": ("step", step, {"units": "optimizer steps", "long_name": "time"})},
        {"onset_step": 3, "config": "{}"},
    )
    path = write_dataset(tmp_path / "a.zarr", dataset)
    found = xr.open_zarr(path)
    xr.testing.assert_identical(found.load(), dataset.assign_attrs(schema_version=SCHEMA_VERSION))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]
    assert files(path) == files(write_dataset(tmp_path / "b.zarr", dataset))
    assert "schema_version" not in dataset.attrs  # the caller's stays as it was


def test_a_dataset_that_was_read_can_be_published_again(tmp_path, small):
    source = open_trajectory(write(tmp_path / "x.zarr", shape(20), records(shape(20))))
    path = write_dataset(tmp_path / "a.zarr", source[["loss", "outputs"]].isel(step=slice(3, 9)))
    same(open_trajectory(path).load(), source[["loss", "outputs"]].isel(step=slice(3, 9)).load())


def test_a_flipped_bit_in_a_small_dataset_is_found(tmp_path):
    path = write_dataset(tmp_path / "a.zarr", xr.Dataset({"x": ("step", np.arange(9.0))}))
    chunk = path / "x" / "c" / "0"
    content = chunk.read_bytes()
    for position in range(len(content)):
        chunk.write_bytes(content[:position] + bytes([content[position] ^ 16]) + content[position + 1 :])
        with pytest.raises(Exception):  # noqa: B017
            xr.open_zarr(path).load()


def test_saved_steps_are_the_multiples_of_the_stride():
    for stride, steps in itertools.product((0, 1, 3, 7, 30), (1, 7, 8, 30)):
        sizes = shape(steps, stride=stride)
        expected = [step for step in range(steps) if (step % stride == 0 if stride else step == 0)]
        assert sizes.saved.tolist() == expected == [step for step in range(steps) if sizes.keeps(step)]


def test_the_schema_names_known_dimensions():
    assert {name for names in PROCESSES.values() for name in names} == set(VARIABLES)
    assert {dim for variable in VARIABLES.values() for dim in variable.dims} <= shape(1).sizes.keys()


def test_canonical_json_does_not_depend_on_the_order_of_keys():
    one, two = canonical({"b": [1, 2.5], "a": None}), canonical({"a": None, "b": [1, 2.5]})
    assert one == two == '{"a":null,"b":[1,2.5]}'
    assert hashlib.sha256(one.encode()).hexdigest() == manifest.digest({"b": [1, 2.5], "a": None})
