"""The sorting dataset against its definition."""

import numpy as np
import pytest

from centralflows.problems.data.sequences import next_token
from centralflows.problems.data.sorting import sorting


def test_rows_are_sequences_followed_by_their_sorted_version():
    data = sorting(examples=50, test_examples=20, symbols=5, length=6, seed=3)
    for inputs, labels, n in ((data.inputs, data.labels, 50), (data.test_inputs, data.test_labels, 20)):
        assert inputs.shape == labels.shape == (n, 11)
        assert inputs.dtype == labels.dtype == np.int64
        assert inputs.min() >= 0 and inputs.max() < 5
        assert (labels[:, :5] == -1).all()
        assert np.array_equal(labels[:, 5:], np.sort(inputs[:, :6], axis=1))  # what is to be predicted
        assert np.array_equal(inputs[:, 6:], labels[:, 5:-1])  # what is seen of it: all but the last token
    assert data.classes == 5
    assert "6 tokens over 5 symbols" in data.description


def test_one_row_by_hand():
    inputs, labels = next_token(np.array([[3, 0, 2]]), np.array([[0, 2, 3]]))
    assert inputs.tolist() == [[3, 0, 2, 0, 2]]
    assert labels.tolist() == [[-1, -1, 0, 2, 3]]


def test_the_seed_decides():
    first, again, other = (sorting(examples=10, test_examples=5, seed=seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first[:4], again[:4], strict=True))
    assert not np.array_equal(first.inputs, other.inputs)
    # pinned: another stream of numpy's generator would silently change every result on this dataset
    assert first.inputs[:2, :8].tolist() == [[1, 3, 0, 0, 1, 1, 0, 1], [3, 1, 0, 0, 3, 0, 2, 2]]


def test_all_sequences_are_different():
    data = sorting(examples=200, test_examples=56, symbols=4, length=4)  # all 4^4 there are
    sequences = np.concatenate([data.inputs, data.test_inputs])[:, :4]
    assert len(np.unique(sequences, axis=0)) == 256


def test_symbols_are_uniform():
    data = sorting(examples=4000, test_examples=1, symbols=4, length=8)
    counts = np.bincount(data.inputs[:, :8].ravel(), minlength=4)
    # 32,000 draws: a count is binomial with p = 1/4, standard deviation sqrt(32000 * 3/16) = 77; five of those
    assert np.abs(counts - 8000).max() < 5 * 77


def test_all_mistakes_are_listed():
    with pytest.raises(ValueError) as error:
        sorting(examples=0, test_examples=-1, symbols=1, length=1)
    for name in ("examples must be at least 1 (got 0)", "test_examples", "symbols must be at least 2", "length"):
        assert name in str(error.value)


def test_more_rows_than_sequences_are_refused():
    with pytest.raises(ValueError, match="= 17 exceeds the 16 sequences of 4 tokens over 2 symbols"):
        sorting(examples=10, test_examples=7, symbols=2, length=4)


def test_sequences_beyond_64_bits_are_refused():
    with pytest.raises(ValueError, match=r"below 2\^63"):
        sorting(examples=1, test_examples=1, symbols=2, length=63)
    assert sorting(examples=1, test_examples=1, symbols=2, length=62).inputs.shape == (1, 123)
