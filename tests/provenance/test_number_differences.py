"""Differences of numbers and of nested settings, by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from centralflows.provenance import number_differences
from centralflows.provenance.number_differences import gaps
from centralflows.provenance.record_differences import ABSENT, differences
from centralflows.store.npz import write_npz
from centralflows.store.zarr_writer import write_dataset


@pytest.fixture
def stores(tmp_path):
    """Writes two stores over five steps."""

    def write(*variables: dict) -> list:
        coords = {"step": np.arange(10, 15)}
        datasets = [xr.Dataset({name: ("step", np.asarray(x)) for name, x in v.items()}, coords) for v in variables]
        return [write_dataset(tmp_path / f"{name}.zarr", d) for name, d in zip("ab", datasets, strict=True)]

    return write


@pytest.mark.parametrize("block", [2, 2**20])
def test_gaps_of_stores_are_those_of_their_numbers(stores, monkeypatch, block):
    monkeypatch.setattr(number_differences, "BLOCK", block)
    same = [1.0, np.nan, 3.0, 4.0, 5.0]
    found = gaps(
        *stores(
            {"same": same, "loss": [4.0, 2.0, 1.0, 0.5, 0.25], "nan": same, "zero": [0.0] * 5},
            {"same": same, "loss": [4.0, 2.0, 1.5, 0.0, 0.25], "nan": [1.0, 2.0, 3.0, 4.0, 5.0], "zero": [0.0] * 5},
        )
    )
    assert [gap.name for gap in found] == ["nan", "loss"]  # the most different first
    nan, loss = found
    assert nan.absolute == np.inf and nan.where == "from step 11 on"
    assert (loss.absolute, loss.relative, loss.where) == (0.5, 0.125, "from step 12 on")


def test_what_one_store_lacks_or_has_in_another_shape_is_named(stores, tmp_path):
    one, other = stores({"a": [1.0] * 5, "b": [1.0] * 5}, {"a": [1.0] * 5, "c": [1] * 5})
    assert {(gap.name, gap.where) for gap in gaps(one, other)} == {
        ("b", "in the first alone"),
        ("c", "in the second alone"),
    }
    longer = write_dataset(tmp_path / "longer.zarr", xr.Dataset({"a": ("step", [1.0] * 6), "b": ("step", [1.0] * 6)}))
    assert {gap.where for gap in gaps(one, longer) if gap.name != "step"} == {"shapes (5,) and (6,)"}
    assert gaps(one, one) == []


def test_gaps_of_datasets_and_cards(tmp_path):
    for name, value in (("one", 3), ("other", 4)):
        write_npz(tmp_path / f"{name}.npz", {"labels": np.array([1, value]), "description": np.array("text")})
        card = {"runs": {"wide": {"value": 2.0 * value, "verdict": "holds" if value == 3 else "fails"}}}
        (tmp_path / f"{name}.json").write_text(json.dumps(card))
    (labels,) = gaps(tmp_path / "one.npz", tmp_path / "other.npz")
    assert (labels.name, labels.absolute, labels.relative) == ("labels", 1, 0.25)
    verdict, value = gaps(tmp_path / "one.json", tmp_path / "other.json")
    assert (verdict.name, verdict.where) == ("runs.wide.verdict", '"holds" and "fails"')
    assert (value.name, value.absolute, value.relative) == ("runs.wide.value", 2.0, 0.25)


def test_of_pictures_it_is_known_whether_they_differ(tmp_path):
    (tmp_path / "a.svg").write_text("<svg/>")
    (tmp_path / "b.svg").write_text("<svg> </svg>")
    assert [gap.where for gap in gaps(tmp_path / "a.svg", tmp_path / "b.svg")] == ["1 of 1 files"]
    assert gaps(tmp_path / "a.svg", tmp_path / "a.svg") == []


def test_differences_of_nested_settings_have_dotted_keys():
    one = {"run": {"lr": 0.1, "model": {"name": "mlp"}, "steps": 3}, "threads": 1}
    other = {"run": {"lr": 0.2, "model": {"name": "mlp", "width": 4}, "steps": 3}}
    assert differences(one, other) == {
        "run.lr": (0.1, 0.2),
        "run.model.width": (ABSENT, 4),
        "threads": (1, ABSENT),
    }
