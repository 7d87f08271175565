"""Handwritten digits of 8x8 pixels from scikit-learn: real images without a download.

scikit-learn takes seconds to import, so the import is inside the function.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Float64
from numpy import ndarray

from ...common.errors import UnusableData
from .class_labels import output_units, split
from .dataset import Dataset

SOURCE = (
    "the test set of Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak, 1998), UCI Machine Learning"
    " Repository, https://archive.ics.uci.edu/dataset/80, as it comes with scikit-learn"
)
LICENCE = "CC BY 4.0"


def digits(*, classes: int = 10, examples: int, test_examples: int, seed: int = 0, binary: bool = False) -> Dataset:
    """Return images of the digits 0 ... classes - 1, equally many of each, standardised.

    A pixel is the number of inked pixels among 4x4 pixels of the scan, 0 to 16. Its mean and standard deviation are
    those over all pixels of all 1797 images, so an image has the same pixels in every split. Statistics of each single
    pixel would fail, because some pixels are 0 in every image.

    Args:
        classes: number of digits, the first ones [count].
        examples, test_examples: images over all classes [count], multiples of `classes`; there are 174 or more of each.
        seed: of the split; the same arguments give the same arrays.
        binary: one output unit instead of two, for two classes.

    Returns:
        inputs float32 `[n, 1, 8, 8]`, labels int64 `[n]`, ordered by class.

    Raises:
        UnusableData: a count is not a positive multiple of `classes`, or exceeds the available images.
    """
    from sklearn.datasets import load_digits

    if not 1 <= classes <= 10:
        raise UnusableData(f"digits: classes must lie in 1..10 (got {classes})")
    bundled = load_digits()
    train, train_labels, test, test_labels = split(
        standardise(bundled.images),
        bundled.target.astype(np.int64),
        classes=classes,
        examples=examples,
        test_examples=test_examples,
        seed=seed,
    )
    return Dataset(
        train,
        train_labels,
        test,
        test_labels,
        classes=output_units(classes, binary),
        description=f"handwritten digits 0 to {classes - 1}, 8x8: {examples} training and {test_examples} test images,"
        f" split by seed {seed}",
        source=SOURCE,
        licence=LICENCE,
    )


def standardise(images: Float64[ndarray, "n 8 8"]) -> Float32[ndarray, "n 1 8 8"]:
    """Return the pixels, whole numbers up to 16, in units of their standard deviation over all images.

    The moments come from the integer sums of a histogram, which do not depend on the order of summation.
    """
    pixels = images.astype(np.int64)
    histogram = np.bincount(pixels.ravel(), minlength=17)
    n, first, second = (int((histogram * np.arange(17) ** power).sum()) for power in range(3))
    mean, std = first / n, (n * second - first**2) ** 0.5 / n
    return ((np.arange(17) - mean) / std).astype(np.float32)[pixels][:, None]
