"""The digits that come with scikit-learn."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from centralflows.problems.data.digits import digits, standardise


def test_all_digits_are_there():
    data = digits(examples=1700, test_examples=40)
    assert data.inputs.shape == (1700, 1, 8, 8) and data.test_inputs.shape == (40, 1, 8, 8)
    assert data.inputs.dtype == np.float32 and data.labels.dtype == np.int64
    assert data.labels.tolist() == sorted([*range(10)] * 170) and data.test_labels.tolist() == sorted([*range(10)] * 4)
    assert data.classes == 10
    assert len(np.unique(np.concatenate([data.inputs, data.test_inputs]).reshape(1740, 64), axis=0)) == 1740


def test_images_are_the_bundled_ones():
    bundled = load_digits()
    mean, std = bundled.images.mean(), bundled.images.std()
    data = digits(classes=3, examples=30, test_examples=12, seed=1)
    known = {image.astype(int).tobytes(): label for image, label in zip(bundled.images, bundled.target, strict=True)}
    for images, labels in ((data.inputs, data.labels), (data.test_inputs, data.test_labels)):
        raw = np.rint(images[:, 0].astype(np.float64) * std + mean).astype(int)
        assert [known[image.tobytes()] for image in raw] == labels.tolist()


def test_all_pixels_together_are_standardised():
    images = standardise(load_digits().images).astype(np.float64)
    # the mean of 115,008 values of size 2 at most, each rounded to float32: within 2 * 2^-24
    assert abs(images.mean()) < 1.2e-7 and abs(images.std() - 1) < 1.2e-7


def test_the_seed_decides_the_split_and_nothing_else():
    first, again, other = (digits(examples=20, test_examples=10, seed=seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first[:4], again[:4], strict=True))
    assert not np.array_equal(first.inputs, other.inputs)
    assert np.array_equal(first.labels, other.labels)


def test_two_digits_can_have_one_output_unit():
    assert digits(classes=2, examples=20, test_examples=10, binary=True).classes == 1


def test_source_and_licence_are_said():
    data = digits(examples=10, test_examples=10)
    assert "UCI" in data.source and data.licence == "CC BY 4.0"


def test_too_many_are_refused():
    with pytest.raises(ValueError, match=r"175 examples of each of 10 classes asked; there are 174 of class 8$"):
        digits(examples=1700, test_examples=50)
    with pytest.raises(ValueError, match=r"classes must lie in 1..10 \(got 11\)"):
        digits(classes=11, examples=11, test_examples=11)
