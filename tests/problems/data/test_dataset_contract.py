"""What a dataset of the user's own must be: each fault is named, and what is right has none."""

from __future__ import annotations

import numpy as np
import pytest

from centralflows.problems.data.dataset import Dataset, load, save
from centralflows.problems.data.dataset_contract import faults

ABOUT = ("two lines", "a test", "none")


def points(**changes) -> Dataset:
    x, y = np.zeros((6, 3), "float32"), np.array([0, 1, 2, 0, 1, -1])
    return Dataset(x, y, x[:4], y[:4], 3, *ABOUT)._replace(**changes)


def tokens(**changes) -> Dataset:
    x = np.arange(12).reshape(4, 3) % 5
    return Dataset(x, x % 2, x[:2], x[:2] % 2, 2, *ABOUT, symbols=5)._replace(**changes)


def regression(**changes) -> Dataset:
    x, y = np.zeros((6, 2, 4, 4), "float32"), np.ones((6, 3), "float32")
    return Dataset(x, y, x[:2], y[:2], 3, *ABOUT)._replace(**changes)


@pytest.mark.parametrize(
    "made, kind", [(points(), "points"), (points(classes=1, labels=np.arange(6) % 2, test_labels=np.arange(4) % 2), "points"),
                   (tokens(), "tokens"), (regression(), "images"), (points(classes=np.int64(3)), "points"),
                   (regression(inputs=np.zeros((6, 5, 2), "f4"), test_inputs=np.zeros((2, 5, 2), "f4")), None)]
)  # fmt: skip
def test_what_is_right_has_no_fault_and_is_stored(made, kind, tmp_path):
    assert faults(made) == [] and made.kind == kind
    save(tmp_path / "made.npz", made)
    read = load(tmp_path / "made.npz")
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(read[:4], made[:4], strict=True))


NAN = np.full((6, 3), np.nan, "float32")


@pytest.mark.parametrize(
    "made, expected",
    [
        ((1, 2), ["must return a centralflows.Dataset (got tuple)"]),
        (None, ["must return a centralflows.Dataset (got NoneType)"]),
        # numbers, texts and types, all at once
        (points(classes=0, symbols=-1), ["classes: must be a whole number, at least 1 (got 0)",
                                         "symbols: must be a whole number, at least 0 (got -1)"]),
        (points(classes=True), ["classes: must be a whole number, at least 1 (got True)"]),
        (points(classes=2.0, source=""), ["classes: must be a whole number, at least 1 (got 2.0)",
                                          "source: must be one line of text (got '')"]),
        (points(description="a\nb"), ["description: must be one line of text (got 'a\\nb')"]),
        (points(licence=None), ["licence: must be one line of text (got 'None')"]),
        (points(inputs=[[1.0]]), ["inputs: must be a numpy array (got list)"]),
        (points(inputs=np.zeros((6, 3)), labels=np.zeros(6, bool)),
         ["inputs: must be float32 or int64 (got float64); use .astype('float32') or .astype('int64')",
          "labels: must be float32 or int64 (got bool); use .astype('float32') or .astype('int64')"]),
        (points(test_inputs=np.zeros((4, 3), int)), ["test_inputs: must be float32 like inputs (got int64)"]),
        (points(test_labels=np.zeros(4, "f4")), ["test_labels: must be int64 like labels (got float32)"]),
        # shapes
        (points(labels=np.zeros(5, int)), ["labels: must be as many as inputs (got shapes [5] and [6, 3])"]),
        (points(test_labels=np.array(0)),
         ["test_labels: must be as many as test_inputs (got shapes [] and [4, 3])"]),
        (points(inputs=np.float32(0) * np.zeros(6, "f4")),
         ["inputs: must be [examples, ...] (got shape [6])", "test_inputs: each must have the shape of inputs, [] (got [3])"]),
        (points(test_inputs=np.zeros((0, 3), "f4"), test_labels=np.zeros(0, int)),
         ["test_inputs: there are none (shape [0, 3])", "test_labels: there are none (shape [0])"]),
        (points(test_labels=np.zeros((4, 2), int)), ["test_labels: each must have the shape of labels, [] (got [2])"]),
        (tokens(inputs=np.zeros((4, 3, 1), int)),
         ["inputs: must be [examples, length] (got shape [4, 3, 1])",
          "test_inputs: each must have the shape of inputs, [3, 1] (got [3])"]),
        # values
        (points(inputs=NAN), ["inputs: must be finite"]),
        (points(test_inputs=NAN[:4] + np.inf), ["test_inputs: must be finite"]),
        (regression(labels=NAN), ["labels: must be finite"]),
        (tokens(symbols=0), ["symbols: whole-number inputs are symbols of an alphabet; say how many there are"]),
        (tokens(symbols=4), ["inputs: must lie in 0..3 (got 0 to 4)", "test_inputs: must lie in 0..3 (got 0 to 4)"]),
        (tokens(inputs=tokens().inputs - 1), ["inputs: must lie in 0..4 (got -1 to 3)"]),
        (points(classes=2), ["labels: must lie in 0..1, or be -1 (masked) (got -1 to 2)",
                             "test_labels: must lie in 0..1, or be -1 (masked) (got 0 to 2)"]),
        (points(classes=1), ["labels: must lie in 0..1, or be -1 (masked) (got -1 to 2)",
                             "test_labels: must lie in 0..1, or be -1 (masked) (got 0 to 2)"]),
        (points(test_labels=np.full(4, -2)), ["test_labels: must lie in 0..2, or be -1 (masked) (got -2 to -2)"]),
        (points(labels=np.full(6, -1)), ["labels: all are masked"]),
    ],
)  # fmt: skip
def test_each_fault_is_named(made, expected):
    assert faults(made) == expected
