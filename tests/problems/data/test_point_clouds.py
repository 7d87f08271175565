"""DerivativeEvaluator against the figures they are drawn from, and their split and standardisation."""

import numpy as np
import pytest

from centralflows.problems.data.point_clouds import circles, classification, moons

MADE = [moons, circles, classification]


def all_points(data):
    return np.concatenate([data.inputs, data.test_inputs]).astype(np.float64)


def all_labels(data):
    return np.concatenate([data.labels, data.test_labels])


@pytest.mark.parametrize("make", MADE)
def test_points_are_balanced_and_standardised(make):
    data = make(examples=60, test_examples=20, seed=4)
    assert data.inputs.dtype == data.test_inputs.dtype == np.float32
    assert data.labels.dtype == data.test_labels.dtype == np.int64
    assert data.labels.tolist() == [0] * 30 + [1] * 30 and data.test_labels.tolist() == [0] * 10 + [1] * 10
    # 60 float32 values of size 3 at most: their mean and standard deviation are off by at most their rounding, 3 * 2^-24
    np.testing.assert_allclose(data.inputs.astype(np.float64).mean(axis=0), 0, atol=2e-7)
    np.testing.assert_allclose(data.inputs.astype(np.float64).std(axis=0), 1, atol=2e-7)
    assert data.classes == 2 and data.symbols == 0
    assert make(examples=60, test_examples=20, binary=True).classes == 1


@pytest.mark.parametrize("make", MADE)
def test_the_seed_decides(make):
    first, again, other = (make(examples=20, test_examples=10, seed=seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first[:4], again[:4], strict=True))
    assert not np.array_equal(first.inputs, other.inputs)


@pytest.mark.parametrize("make", MADE)
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_no_test_point_is_a_training_point(make, noise):
    options = {} if make is classification else {"noise": noise}
    data = make(examples=200, test_examples=200, **options)
    assert len(np.unique(all_points(data), axis=0)) == 400


def test_moons_lie_on_half_circles():
    data = moons(examples=40, test_examples=20, noise=0.0)
    points, labels = all_points(data), all_labels(data)
    angles = np.linspace(0, np.pi, 30)
    raw = {
        0: np.stack([np.cos(angles), np.sin(angles)], axis=1),
        1: np.stack([1 - np.cos(angles), 0.5 - np.sin(angles)], axis=1),
    }
    # standardising is affine in each coordinate and increasing, so it keeps the order of each
    for label, expected in raw.items():
        found = points[labels == label]
        for axis in range(2):
            slope, offset = np.polyfit(np.sort(expected[:, axis]), np.sort(found[:, axis]), 1)
            fitted = slope * np.sort(expected[:, axis]) + offset
            assert slope > 0
            # rounding of float32 values of size 3 at most is 2^-23 at most; the fit adds no more
            np.testing.assert_allclose(np.sort(found[:, axis]), fitted, atol=3e-7)


@pytest.mark.parametrize("factor", [0.0, 0.5, 0.9])
def test_circles_have_their_radii(factor):
    data = circles(examples=400, test_examples=400, noise=0.0, factor=factor)
    points, labels = all_points(data), all_labels(data)
    # standardising is affine; the circles' common centre and the outer circle's half axes undo it
    outer = points[labels == 0]
    centre, axes = (outer.max(axis=0) + outer.min(axis=0)) / 2, (outer.max(axis=0) - outer.min(axis=0)) / 2
    radii = np.hypot(*((points - centre) / axes).T)
    np.testing.assert_allclose(radii[labels == 0], 1, atol=1e-6)
    np.testing.assert_allclose(radii[labels == 1], factor, atol=1e-6)


def test_separation_tells_clusters_apart():
    options = {"examples": 300, "test_examples": 300, "classes": 3, "dimensions": 6, "informative": 4}
    far = classification(**options, separation=20.0)
    centres = np.stack([far.inputs[far.labels == label].mean(axis=0) for label in range(3)])
    nearest = np.square(far.test_inputs[:, None] - centres).sum(axis=-1).argmin(axis=1)
    assert np.array_equal(nearest, far.test_labels)  # 20 widths apart nothing is taken for another
    assert np.abs(centres[:, 4:]).max() < 5 / np.sqrt(100)  # dimensions of noise: means of 100, five standard errors


@pytest.mark.parametrize("classes, clusters, each", [(2, 3, 7), (3, 2, 11), (5, 5, 4)])
def test_classes_are_equally_many_however_they_are_clustered(classes, clusters, each):
    counts = {"examples": classes * each, "test_examples": classes}
    data = classification(**counts, classes=classes, clusters=clusters)
    assert np.bincount(data.labels).tolist() == [each] * classes
    assert np.bincount(data.test_labels).tolist() == [1] * classes


@pytest.mark.parametrize("make", MADE)
def test_uneven_counts_are_refused(make):
    with pytest.raises(ValueError) as error:
        make(examples=3, test_examples=0)
    assert f"cannot make the {make.__name__} dataset" in str(error.value)
    assert "examples must be a positive multiple of classes = 2 (got 3)" in str(error.value)
    assert "test_examples must be a positive multiple of classes = 2 (got 0)" in str(error.value)


@pytest.mark.parametrize("wrong", [{"informative": 2, "clusters": 3}, {"informative": 11}, {"clusters": 0}])
def test_clusters_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ValueError, match=r"classes \* clusters <= 2\^informative .*\(got classes 2, clusters"):
        classification(examples=10, test_examples=10, **wrong)


def test_points_on_a_line_are_refused():
    with pytest.raises(ValueError, match=r"a coordinate is the same in all 2 training points; ask for more examples"):
        for seed in range(20):  # without noise two points of each circle lie on its horizontal diameter
            circles(examples=2, test_examples=2, noise=0.0, seed=seed)
