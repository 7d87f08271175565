"""The sorting task on sequences of tokens."""

from __future__ import annotations

import numpy as np

from .dataset import Dataset
from .sequences import answered


def sorting(*, examples: int, test_examples: int, symbols: int = 4, length: int = 8, seed: int = 0) -> Dataset:
    r"""Return sequences followed by their order statistics $(x_{(1)}, \dots, x_{(L)})$; otherwise as `answered`."""
    return answered(
        "sorting",
        lambda tokens: np.sort(tokens, axis=1),
        examples=examples,
        test_examples=test_examples,
        symbols=symbols,
        length=length,
        seed=seed,
    )
