"""Class labels with equal counts: counts, output units, and a split into training and test examples."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64, Shaped
from numpy import ndarray

from ...common.errors import UnusableData


def uneven(classes: int, *, examples: int, test_examples: int) -> list[str]:
    """Return an error line for each count that is not a positive multiple of the number of classes."""
    return [
        f"  {name} must be a positive multiple of classes = {classes} (got {value})"
        for name, value in (("examples", examples), ("test_examples", test_examples))
        if value < 1 or value % classes
    ]


def output_units(classes: int, binary: bool) -> int:
    """Return the number of output units: one for each class, or a single one for two classes if `binary`.

    Raises:
        UnusableData: `binary` with another number of classes than two.
    """
    if binary and classes != 2:
        raise UnusableData(f"binary: a single output unit tells 2 classes apart (got {classes})")
    return 1 if binary else classes


def first_of_each(labels: Int64[ndarray, " n"], *, classes: int, count: int) -> Int64[ndarray, " count"]:
    """Return the rows of the first `count` examples of the first classes, equally many of each, ordered by class.

    Raises:
        UnusableData: a class has too few; the message gives their number.
    """
    each = count // classes
    found = [np.flatnonzero(labels == label) for label in range(classes)]
    if short := [f"{len(rows)} of class {label}" for label, rows in enumerate(found) if len(rows) < each]:
        raise UnusableData(f"{each} examples of each of {classes} classes asked; there are {', '.join(short)}")
    return np.concatenate([rows[:each] for rows in found])


def split(
    inputs: Shaped[ndarray, "n ..."],
    labels: Int64[ndarray, " n"],
    *,
    classes: int,
    examples: int,
    test_examples: int,
    seed: int,
) -> tuple[
    Shaped[ndarray, "examples ..."],
    Int64[ndarray, " examples"],
    Shaped[ndarray, "test_examples ..."],
    Int64[ndarray, " test_examples"],
]:
    """Return training and test examples of the first classes, equally many of each; no row is drawn twice.

    Args:
        examples, test_examples: number drawn over all classes [count], multiples of `classes`.
        seed: of numpy's default generator; the same arguments give the same rows.

    Returns:
        inputs and labels for training, then for testing; ordered by class, and within a class as drawn.

    Raises:
        UnusableData: a count is not a positive multiple of `classes`, or exceeds the available examples.
    """
    if mistakes := uneven(classes, examples=examples, test_examples=test_examples):
        raise UnusableData("\n".join(["cannot split the examples", *mistakes]))
    order = np.random.default_rng(seed).permutation(len(labels))
    drawn = order[first_of_each(labels[order], classes=classes, count=examples + test_examples)]
    of_class = drawn.reshape(classes, -1)
    train, test = np.split(of_class, [examples // classes], axis=1)
    return inputs[train.ravel()], labels[train.ravel()], inputs[test.ravel()], labels[test.ravel()]
