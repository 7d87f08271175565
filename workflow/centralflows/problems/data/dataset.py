"""The form of every dataset: arrays of examples, ready for an objective."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from ...store.npz import read_npz, write_npz

MASKED = -1
"""Label of a position that no loss counts."""

NO_LICENCE = "none needed: generated"
"""Licence of generated numbers."""


class Dataset(NamedTuple):
    """The training and test examples of one problem, with their description.

    Images are standardised float32 `[n, channels, size, size]` and points standardised float32 `[n, d]`, with labels
    `[n]`. Token sequences are int64 `[n, s]` with labels `[n, s]`; labels equal to `MASKED` are not counted. Class
    labels are int64. Labels of other problems, for a user's criterion, are float32 of any shape `[n, ...]`.
    """

    inputs: Shaped[ndarray, "n ..."]
    labels: Shaped[ndarray, "n ..."]
    test_inputs: Shaped[ndarray, "n_test ..."]
    test_labels: Shaped[ndarray, "n_test ..."]
    classes: int  # output units of a network; class labels lie in 0..classes-1, or in 0..1 for a single unit
    description: str  # one line for records and captions
    source: str  # origin of the examples
    licence: str  # terms of use
    symbols: int = 0  # size of the alphabet of token sequences, whose inputs lie in 0..symbols-1

    @property
    def kind(self) -> Literal["images", "points", "tokens"] | None:
        """Kind of an example, as networks distinguish them; None for an array of another shape."""
        if self.inputs.dtype.kind != "f":
            return "tokens"
        return {4: "images", 2: "points"}.get(self.inputs.ndim)


def save(file: Path, dataset: Dataset) -> None:
    """Write a dataset as an npz; its bytes depend on the dataset alone."""
    write_npz(file, {name: np.asarray(value) for name, value in dataset._asdict().items()})


def load(file: Path) -> Dataset:
    """Return a dataset that `save` wrote."""
    arrays = read_npz(file)
    numbers = {name: int(arrays[name]) for name in ("classes", "symbols")}
    texts = {name: str(arrays[name]) for name in ("description", "source", "licence")}
    return Dataset(**arrays | numbers | texts)
