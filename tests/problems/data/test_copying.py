"""The copying dataset against its definition; what it shares with sorting is tested there."""

import numpy as np
import pytest

from centralflows.problems.data.copying import copying
from centralflows.problems.data.sorting import sorting


def test_rows_are_sequences_followed_by_themselves():
    data = copying(examples=50, test_examples=20, symbols=5, length=6, seed=3)
    for inputs, labels, n in ((data.inputs, data.labels, 50), (data.test_inputs, data.test_labels, 20)):
        assert inputs.shape == labels.shape == (n, 11)
        assert inputs.dtype == labels.dtype == np.int64
        assert (labels[:, :5] == -1).all()
        assert np.array_equal(labels[:, 5:], inputs[:, :6])  # what is to be predicted
        assert np.array_equal(inputs[:, 6:], inputs[:, :5])  # what is seen of it: all but the last token
    assert data.classes == data.symbols == 5
    assert data.description.startswith("copying 6 tokens over 5 symbols")


def test_it_copies_what_sorting_sorts():
    copied, sorted_ = copying(examples=20, test_examples=5), sorting(examples=20, test_examples=5)
    assert copied.inputs.shape == (20, 15)  # the tokens that the paper's networks see
    assert np.array_equal(copied.inputs[:, :8], sorted_.inputs[:, :8])


def test_mistakes_name_the_dataset():
    with pytest.raises(ValueError, match="cannot make the copying dataset\n  examples must be at least 1"):
        copying(examples=0, test_examples=1)
