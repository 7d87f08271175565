"""Sequences of tokens followed by their answers: language-model problems that need no download."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from ...common.errors import UnusableData
from .dataset import MASKED, NO_LICENCE, Dataset

Answer = Callable[[Int64[ndarray, "n length"]], Int64[ndarray, "n length"]]


def answered(
    task: str, answer: Answer, *, examples: int, test_examples: int, symbols: int, length: int, seed: int
) -> Dataset:
    r"""Return sequences followed by their answers, with next tokens as labels.

    A row of tokens is $(x_1, \dots, x_L, y_1, \dots, y_L)$ with $x$ uniform over the symbols' sequences and $y$ its
    answer. The inputs are the row without its last token, and the labels are the row without its first. The first L - 1
    labels are masked, because they are unpredictable random tokens.

    All sequences are different, so no test sequence is a training sequence.

    Args:
        task: its name, for the description and for messages.
        answer: maps sequences `[n, L]` to answers `[n, L]` over the same symbols.
        examples, test_examples: number of rows [count], at least 1 each.
        symbols: size of the alphabet [count], which is the number of classes.
        length: tokens of a sequence, L [count].
        seed: of numpy's default generator; the same arguments give the same arrays.

    Returns:
        inputs and labels, int64 `[n, 2 * length - 1]`.

    Raises:
        UnusableData: a count is too small, or there are fewer different sequences than rows; lists all mistakes.
    """
    rows = examples + test_examples
    least = (
        ("examples", examples, 1),
        ("test_examples", test_examples, 1),
        ("symbols", symbols, 2),
        ("length", length, 2),
    )
    mistakes = [f"  {name} must be at least {lowest} (got {value})" for name, value, lowest in least if value < lowest]
    if not mistakes and rows > symbols**length:
        mistakes.append(
            f"  examples + test_examples = {rows} exceeds the {symbols**length} sequences of {length} tokens over"
            f" {symbols} symbols; ask for fewer examples, or raise length or symbols"
        )
    if not mistakes and symbols**length >= 2**63:  # each sequence gets an int64 number below
        mistakes.append(f"  symbols^length = {symbols}^{length} must be below 2^63; lower length or symbols")
    if mistakes:
        raise UnusableData("\n".join([f"cannot make the {task} dataset", *mistakes]))

    # a sequence is the digits of its number in base `symbols`, so numbers drawn without replacement give different
    # sequences
    numbers = np.random.default_rng(seed).choice(symbols**length, size=rows, replace=False)
    powers = symbols ** np.arange(length, dtype=np.int64)
    tokens = numbers[:, None] // powers % symbols
    inputs, labels = next_token(tokens, answer(tokens))
    return Dataset(
        inputs[:examples],
        labels[:examples],
        inputs[examples:],
        labels[examples:],
        classes=symbols,
        symbols=symbols,
        description=f"{task} {length} tokens over {symbols} symbols: {examples} training and {test_examples} test"
        f" sequences, seed {seed}",
        source="generated: uniform sequences without repetition",
        licence=NO_LICENCE,
    )


def next_token(
    tokens: Int64[ndarray, "n length"], answers: Int64[ndarray, "n length"]
) -> tuple[Int64[ndarray, "n s"], Int64[ndarray, "n s"]]:
    """Return the inputs and masked labels `[n, 2 * length - 1]` of sequences and their answers."""
    rows = np.concatenate([tokens, answers], axis=1)
    inputs, labels = rows[:, :-1].copy(), rows[:, 1:].copy()
    labels[:, : tokens.shape[1] - 1] = MASKED
    return inputs, labels
