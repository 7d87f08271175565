"""Points in few dimensions, drawn by scikit-learn: moons, circles, and clusters at the corners of a hypercube.

scikit-learn takes seconds to import, so the imports are inside the functions.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

from ...common.errors import UnusableData
from .class_labels import output_units, split, uneven
from .dataset import NO_LICENCE, Dataset


def moons(*, examples: int, test_examples: int, noise: float = 0.1, seed: int = 0, binary: bool = False) -> Dataset:
    """Return two interleaved half circles of radius 1, equally many points on each.

    Args:
        examples, test_examples: points over both classes [count], even.
        noise: standard deviation of the Gaussian noise on each coordinate [radius].
        seed: of the noise and of the split; the same arguments give the same arrays.
        binary: one output unit instead of two.

    Returns:
        inputs float32 `[n, 2]`, standardised; labels int64 `[n]`, ordered by class.

    Raises:
        UnusableData: a count is not positive and even.
    """
    from sklearn.datasets import make_moons

    each = _each("moons", 2, examples, test_examples)
    points, labels = make_moons((each, each), shuffle=False, noise=noise, random_state=seed)
    counts = {"classes": 2, "examples": examples, "test_examples": test_examples}
    return _dataset(points, labels, "moons", f"noise {noise:g}", **counts, seed=seed, binary=binary)


def circles(
    *,
    examples: int,
    test_examples: int,
    noise: float = 0.1,
    factor: float = 0.5,
    seed: int = 0,
    binary: bool = False,
) -> Dataset:
    """Return a circle of radius 1 around another of radius `factor`, with equally many points; otherwise as `moons`."""
    from sklearn.datasets import make_circles

    each = _each("circles", 2, examples, test_examples)
    points, labels = make_circles((each, each), shuffle=False, noise=noise, factor=factor, random_state=seed)
    about = f"radii 1 and {factor:g}, noise {noise:g}"
    counts = {"classes": 2, "examples": examples, "test_examples": test_examples}
    return _dataset(points, labels, "circles", about, **counts, seed=seed, binary=binary)


def classification(
    *,
    examples: int,
    test_examples: int,
    classes: int = 2,
    dimensions: int = 10,
    informative: int = 5,
    clusters: int = 1,
    separation: float = 1.0,
    seed: int = 0,
    binary: bool = False,
) -> Dataset:
    """Return Gaussian clusters, each of random covariance, at different corners of a hypercube.

    Args:
        examples, test_examples: points over all classes [count], multiples of `classes`.
        classes: number of classes [count].
        dimensions: of the points [count].
        informative: number of leading dimensions that the hypercube spans [count]; the others are Gaussian noise.
        clusters: of each class [count]; all clusters together are at most the 2^informative corners.
        separation: half the side of the hypercube [about the width of a cluster].
        seed: of the clusters, the points and the split; the same arguments give the same arrays.
        binary: one output unit instead of two, for two classes.

    Returns:
        inputs float32 `[n, dimensions]`, standardised; labels int64 `[n]`, ordered by class.

    Raises:
        UnusableData: the counts are inconsistent; lists all mistakes of a kind.
    """
    from sklearn.datasets import make_classification

    if not 1 <= informative <= dimensions or classes < 2 or clusters < 1 or classes * clusters > 2**informative:
        raise UnusableData(
            "cannot make the classification dataset\n  needs classes >= 2, clusters >= 1,"
            " classes * clusters <= 2^informative and 1 <= informative <= dimensions"
            f" (got classes {classes}, clusters {clusters}, informative {informative}, dimensions {dimensions})"
        )
    each = _each("classification", classes, examples, test_examples)
    points, labels = make_classification(
        each * classes,
        dimensions,
        n_informative=informative,
        n_redundant=0,
        n_classes=classes,
        n_clusters_per_class=clusters,
        class_sep=separation,
        flip_y=0.0,  # keeps the classes equally large
        shuffle=False,
        random_state=seed,
    )
    about = f"{classes} classes of {clusters} clusters in {informative} of {dimensions} dimensions"
    about += f", separation {separation:g}"
    counts = {"classes": classes, "examples": examples, "test_examples": test_examples}
    return _dataset(points, labels, "classification", about, **counts, seed=seed, binary=binary)


def _each(name: str, classes: int, examples: int, test_examples: int) -> int:
    """Return the number of points of each class, for training and testing together."""
    if mistakes := uneven(classes, examples=examples, test_examples=test_examples):
        raise UnusableData("\n".join([f"cannot make the {name} dataset", *mistakes]))
    return (examples + test_examples) // classes


def _dataset(
    points: Float64[ndarray, "n d"],
    labels: Int64[ndarray, " n"],
    name: str,
    about: str,
    *,
    classes: int,
    examples: int,
    test_examples: int,
    seed: int,
    binary: bool,
) -> Dataset:
    """Return the split dataset, each coordinate standardised by its mean and standard deviation over the training
    points.

    Training and test points come from one draw that is then split. Two draws of scikit-learn would place points without
    noise at the same angles, and clusters at different corners.
    """
    train, train_labels, test, test_labels = split(
        points, labels, classes=classes, examples=examples, test_examples=test_examples, seed=seed
    )
    mean, std = train.mean(axis=0), train.std(axis=0)
    if std.min() < 1e-6:  # points have distances of about 1, but a few without noise can lie on a line
        raise UnusableData(f"{name}: a coordinate is the same in all {examples} training points; ask for more examples")
    return Dataset(
        ((train - mean) / std).astype(np.float32),
        train_labels,
        ((test - mean) / std).astype(np.float32),
        test_labels,
        classes=output_units(classes, binary),
        description=f"{name}, {about}: {examples} training and {test_examples} test points, seed {seed}",
        source=f"generated: make_{name} of scikit-learn",
        licence=NO_LICENCE,
    )
