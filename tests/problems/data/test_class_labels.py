"""Counts of classes and the split into training and test examples."""

import numpy as np
import pytest

from centralflows.problems.data.class_labels import first_of_each, output_units, split, uneven

LABELS = np.array([1, 0, 2, 1, 0, 2, 2, 1, 0, 0, 2, 1, 2])  # 4, 4 and 5 of each
ROWS = np.arange(len(LABELS), dtype=np.float64)


def drawn(seed=0, **changed):
    counts = {"classes": 3, "examples": 6, "test_examples": 3} | changed
    return split(ROWS, LABELS, **counts, seed=seed)


def test_first_of_each_keeps_the_order():
    assert first_of_each(LABELS, classes=2, count=4).tolist() == [1, 4, 0, 3]


def test_a_split_is_balanced_ordered_and_has_no_row_twice():
    train, train_labels, test, test_labels = drawn()
    assert train_labels.tolist() == [0, 0, 1, 1, 2, 2] and test_labels.tolist() == [0, 1, 2]
    rows = np.concatenate([train, test]).astype(int)
    assert len(set(rows)) == 9
    assert np.array_equal(LABELS[rows], np.concatenate([train_labels, test_labels]))


def test_the_seed_decides():
    assert all(np.array_equal(a, b) for a, b in zip(drawn(), drawn(), strict=True))
    # of the 144 ways to draw the training rows of the first two classes and the 30 of the third, two are rarely equal
    assert any(not np.array_equal(drawn(0)[0], drawn(seed)[0]) for seed in (1, 2))


def test_too_few_examples_say_what_there_is():
    with pytest.raises(
        ValueError, match=r"5 examples of each of 3 classes asked; there are 4 of class 0, 4 of class 1$"
    ):
        drawn(examples=12)


def test_uneven_counts_are_listed():
    assert uneven(3, examples=6, test_examples=3) == []
    with pytest.raises(ValueError) as error:
        drawn(examples=4, test_examples=0)
    assert str(error.value).splitlines()[1:] == [
        "  examples must be a positive multiple of classes = 3 (got 4)",
        "  test_examples must be a positive multiple of classes = 3 (got 0)",
    ]


def test_output_units():
    assert (output_units(2, False), output_units(2, True), output_units(5, False)) == (2, 1, 5)
    with pytest.raises(ValueError, match=r"tells 2 classes apart \(got 5\)"):
        output_units(5, True)
