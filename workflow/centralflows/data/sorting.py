"""Sequences of tokens to be sorted: a language-model problem that needs no download."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from centralflows.data.examples import MASKED, Dataset
from centralflows.errors import UnusableData


def sorting(*, examples: int, test_examples: int, symbols: int = 4, length: int = 8, seed: int = 0) -> Dataset:
    r"""Return sequences followed by their sorted version, with next tokens as labels.

    A row of tokens is $(x_1, \dots, x_L, x_{(1)}, \dots, x_{(L)})$ with $x$ uniform over the symbols' sequences and
    $x_{(i)}$ its order statistics. The inputs are the row without its last token, the labels the row without its first;
    the first L - 1 labels are random tokens that nothing could predict, and are masked.

    All sequences are different, so that no test sequence is a training sequence.

    Args:
        examples, test_examples: number of rows [count], at least 1 each.
        symbols: size of the alphabet [count], which is the number of classes.
        length: tokens to sort, L [count].
        seed: of numpy's default generator; the same arguments give the same arrays.

    Returns:
        inputs and labels, int64 `[n, 2 * length - 1]`.

    Raises:
        UnusableData: a count too small, or more rows asked than there are different sequences; lists all mistakes.
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
    if not mistakes and symbols**length >= 2**63:  # each sequence is numbered below
        mistakes.append(f"  symbols^length = {symbols}^{length} must be below 2^63; lower length or symbols")
    if mistakes:
        raise UnusableData("\n".join(["cannot make the sorting dataset", *mistakes]))

    # a sequence is the digits of its number in base `symbols`, so numbers drawn without replacement differ as sequences
    numbers = np.random.default_rng(seed).choice(symbols**length, size=rows, replace=False)
    powers = symbols ** np.arange(length, dtype=np.int64)
    inputs, labels = next_token(numbers[:, None] // powers % symbols)
    return Dataset(
        inputs[:examples],
        labels[:examples],
        inputs[examples:],
        labels[examples:],
        classes=symbols,
        description=f"sorting {length} tokens over {symbols} symbols: {examples} training and {test_examples} test"
        f" sequences, seed {seed}",
    )


def next_token(tokens: Int64[ndarray, "n length"]) -> tuple[Int64[ndarray, "n s"], Int64[ndarray, "n s"]]:
    """Inputs and masked labels `[n, 2 * length - 1]` of sequences to sort."""
    rows = np.concatenate([tokens, np.sort(tokens, axis=1)], axis=1)
    inputs, labels = rows[:, :-1].copy(), rows[:, 1:].copy()
    labels[:, : tokens.shape[1] - 1] = MASKED
    return inputs, labels
