"""The copying task on sequences of tokens."""

from __future__ import annotations

from .dataset import Dataset
from .sequences import answered


def copying(*, examples: int, test_examples: int, symbols: int = 4, length: int = 8, seed: int = 0) -> Dataset:
    """Return sequences followed by themselves; otherwise as `answered`, with the sequences of the sorting task."""
    return answered(
        "copying",
        lambda tokens: tokens,
        examples=examples,
        test_examples=test_examples,
        symbols=symbols,
        length=length,
        seed=seed,
    )
