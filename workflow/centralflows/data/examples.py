"""What every dataset of this package is: arrays of examples, ready for an objective."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, Shaped
from numpy import ndarray

from centralflows.data.npz import read_npz, write_npz

MASKED = -1
"""Label of a position that no loss counts."""

NO_LICENCE = "none needed: generated"
"""Licence of numbers that nobody collected."""


class Dataset(NamedTuple):
    """Training and test examples of one classification problem, and what they are.

    Images are standardised float32 `[n, channels, size, size]` and points standardised float32 `[n, d]`, with labels
    `[n]`; token sequences are int64 `[n, s]` with labels `[n, s]`, of which those equal to `MASKED` are not counted.
    """

    inputs: Shaped[ndarray, "n ..."]
    labels: Int64[ndarray, "n ..."]
    test_inputs: Shaped[ndarray, "n_test ..."]
    test_labels: Int64[ndarray, "n_test ..."]
    classes: int  # output units of a model for it; labels lie in 0..classes-1, or in 0..1 for a single unit
    description: str  # one line for records and captions
    source: str  # where the examples come from
    licence: str  # on what terms
    symbols: int = 0  # token sequences: size of the alphabet of the inputs, which lie in 0..symbols-1


def save(file: Path, dataset: Dataset) -> None:
    """Write a dataset as an npz; its bytes depend on the dataset alone."""
    write_npz(file, {name: np.asarray(value) for name, value in dataset._asdict().items()})


def load(file: Path) -> Dataset:
    """Read a dataset that `save` wrote."""
    arrays = read_npz(file)
    numbers = {name: int(arrays[name]) for name in ("classes", "symbols")}
    texts = {name: str(arrays[name]) for name in ("description", "source", "licence")}
    return Dataset(**arrays | numbers | texts)
