"""What every dataset of this package is: arrays of examples, ready for an objective."""

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
"""Licence of numbers that nobody collected."""


class Dataset(NamedTuple):
    """Training and test examples of one problem, and what they are.

    Images are standardised float32 `[n, channels, size, size]` and points standardised float32 `[n, d]`, with labels
    `[n]`; token sequences are int64 `[n, s]` with labels `[n, s]`, of which those equal to `MASKED` are not counted.
    Class labels are int64. Labels of other problems, for a criterion of one's own, are float32 of any shape `[n, ...]`.
    """

    inputs: Shaped[ndarray, "n ..."]
    labels: Shaped[ndarray, "n ..."]
    test_inputs: Shaped[ndarray, "n_test ..."]
    test_labels: Shaped[ndarray, "n_test ..."]
    classes: int  # output units of a model for it; class labels lie in 0..classes-1, or in 0..1 for a single unit
    description: str  # one line for records and captions
    source: str  # where the examples come from
    licence: str  # on what terms
    symbols: int = 0  # token sequences: size of the alphabet of the inputs, which lie in 0..symbols-1

    @property
    def kind(self) -> Literal["images", "points", "tokens"] | None:
        """What one example is, as networks tell them apart; None for another array of numbers."""
        if self.inputs.dtype.kind != "f":
            return "tokens"
        return {4: "images", 2: "points"}.get(self.inputs.ndim)


def save(file: Path, dataset: Dataset) -> None:
    """Write a dataset as an npz; its bytes depend on the dataset alone."""
    write_npz(file, {name: np.asarray(value) for name, value in dataset._asdict().items()})


def load(file: Path) -> Dataset:
    """Read a dataset that `save` wrote."""
    arrays = read_npz(file)
    numbers = {name: int(arrays[name]) for name in ("classes", "symbols")}
    texts = {name: str(arrays[name]) for name in ("description", "source", "licence")}
    return Dataset(**arrays | numbers | texts)
