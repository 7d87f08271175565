"""CIFAR-10 as one npz file: its digests, reading and writing, and the selection of examples.

`cifar10_sources` obtains the dataset.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

from ...common.errors import UnusableData
from ...store.npz import read_npz, write_npz
from .class_labels import output_units, uneven
from .dataset import Dataset

SOURCE = (
    "CIFAR-10 (A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009),"
    " https://www.cs.toronto.edu/~kriz/cifar.html"
)
LICENCE = "none stated; its authors ask for a citation"

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

DIGESTS = {
    "train_images": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
    "train_labels": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
    "test_images": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
    "test_labels": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
}
"""sha256 of the bytes of each uint8 array of the full dataset, in C order."""

CHANNEL_MEAN = (125.306918046875, 122.950394140625, 113.86538318359375)
CHANNEL_STD = (62.99321927813691, 62.088707640014164, 66.70489964063096)
"""Mean and (population) standard deviation of red, green and blue over the 50,000 training images, on the 0..255 scale;
computed from integer sums, and therefore exact to the last digit."""

SUBSET = Path(str(resources.files(__package__) / "cifar10-subset.npz")).resolve()  # a link to workflow/resources
SUBSET_SHA256 = "dc50008c5652e456b2ff012c3ff2e5743c87ea21b5feb2fd999a36fac7b43cdf"
"""The shipped subset (the first images of four classes), and the digest of that file."""

CURE = "`snakemake cifar10` makes the full dataset, which has 5000 training and 1000 test images of every class"


class Cifar10(NamedTuple):
    """Images and labels as published, in the published order."""

    train_images: UInt8[ndarray, "n 32 32 3"]
    train_labels: UInt8[ndarray, " n"]
    test_images: UInt8[ndarray, "n_test 32 32 3"]
    test_labels: UInt8[ndarray, " n_test"]


class DigestMismatch(UnusableData):
    """The data are not the published ones; the message carries the expected and the found digest."""


def check_digests(images: Cifar10, digests: Mapping[str, str] = DIGESTS, *, where: str) -> Cifar10:
    """Return the images if the sha256 of every array is the expected one.

    Raises:
        DigestMismatch: lists every array that differs.
    """
    wrong = []
    for name, array in images._asdict().items():
        found = hashlib.sha256(np.ascontiguousarray(array)).hexdigest()
        if found != digests[name]:
            wrong.append(f"  {name} {list(array.shape)}: expected sha256 {digests[name]}, found {found}")
    if wrong:
        raise DigestMismatch("\n".join([f"{where}: not the published CIFAR-10", *wrong]))
    return images


def check_file(file: Path, expected: str, algorithm: str = "sha256") -> None:
    """Raise `DigestMismatch` unless the file has the expected digest."""
    with file.open("rb") as stream:
        # not for security: this flag allows md5 on systems that otherwise forbid it
        found = hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    if found != expected:
        raise DigestMismatch(
            f"{file}: expected {algorithm} {expected}, found {found}; damaged or another file, get it anew"
        )


def check_arrays(images: Cifar10, *, where: str) -> Cifar10:
    """Return the images if their types, shapes and labels are those of CIFAR-10.

    Raises:
        UnusableData: they are not; the message lists all mistakes.
    """
    mistakes = []
    for part in ("train", "test"):
        pixels, labels = getattr(images, f"{part}_images"), getattr(images, f"{part}_labels")
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (32, 32, 3):
            mistakes.append(f"{part}_images: must be uint8 [n, 32, 32, 3] (got {pixels.dtype} {list(pixels.shape)})")
        if labels.dtype != np.uint8 or labels.shape != pixels.shape[:1]:
            mistakes.append(
                f"{part}_labels: must be uint8 [n], one per image (got {labels.dtype} {list(labels.shape)})"
            )
        elif (wrong := np.flatnonzero(labels >= len(CLASSES))).size:
            mistakes.append(f"{part}_labels: must lie in 0..9 (got {labels[wrong[0]]} in row {wrong[0]})")
    if mistakes:
        raise UnusableData("\n  ".join([f"{where}: not CIFAR-10", *mistakes]))
    return images


def load(file: Path, *, verify: str | None = None) -> Cifar10:
    """Return the arrays of an npz written by `save`: the full dataset or the shipped subset.

    Args:
        file: the npz. A file with the name of the shipped subset must have the shipped digest.
        verify: sha256 that the file must have.

    Raises:
        FileNotFoundError: there is no such file.
        DigestMismatch: the file has another digest.
        UnusableData: the file is not an npz, is damaged, or has other arrays than CIFAR-10's.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; {CURE}")
    expected = verify or (SUBSET_SHA256 if file.name == SUBSET.name else None)
    if expected:
        check_file(file, expected)
    try:
        arrays = read_npz(file)
    except Exception as error:  # for a damaged header, numpy and zipfile raise all kinds of errors, even SyntaxError
        raise UnusableData(f"{file}: not a readable CIFAR-10 npz: {error}; {CURE}") from error
    if set(arrays) != set(Cifar10._fields):
        raise UnusableData(f"{file}: has the arrays {sorted(arrays)}, needs {sorted(Cifar10._fields)}; {CURE}")
    return check_arrays(Cifar10(**arrays), where=str(file))


def save(file: Path, images: Cifar10) -> None:
    """Write an npz that `load` reads; its bytes depend on the images alone."""
    write_npz(file, images._asdict())


def first_of_each(images: Cifar10, *, classes: int, train: int, test: int) -> Cifar10:
    """Return the first `train` and `test` images of each of the first classes, ordered by class, then as in the file.

    Raises:
        UnusableData: the file has too few; the message lists the requested and available counts, and the cure.
    """
    mistakes, rows = [], {}
    for part, wanted in (("train", train), ("test", test)):
        labels = getattr(images, f"{part}_labels")
        of_class = [np.flatnonzero(labels == label) for label in range(classes)]
        short = [f"{len(found)} of {CLASSES[label]}" for label, found in enumerate(of_class) if len(found) < wanted]
        if short:
            mistakes.append(
                f"  {part}: {wanted} images of each of {classes} classes asked; there are {', '.join(short)}"
            )
        rows[part] = np.concatenate([found[:wanted] for found in of_class])
    if mistakes:
        raise UnusableData("\n".join(["this CIFAR-10 file has too few images", *mistakes, CURE]))
    return Cifar10(
        images.train_images[rows["train"]],
        images.train_labels[rows["train"]],
        images.test_images[rows["test"]],
        images.test_labels[rows["test"]],
    )


def cifar10(cifar10: Path = SUBSET, **options: Any) -> Dataset:
    """Return the first images of the first classes of an npz; for options and errors see `select`."""
    return select(load(cifar10), **options)


def select(
    images: Cifar10, *, classes: int, examples: int, test_examples: int, binary: bool = False, pool: int = 1
) -> Dataset:
    r"""Return the first images of the first classes, equally many of each, standardised by channel.

    Images are first reduced in size: each square of `pool` x `pool` pixels x is replaced by its mean $\bar x$. This
    becomes $(\bar x - \mu_c) / \sigma_c$ with the mean and standard deviation of channel c over the pixels of the
    *full* training set in full size. A subset therefore has the same pixels as the full dataset, and a smaller image is
    the average of the standardised larger one.

    Args:
        classes: number of the classes 0, 1, ... [count].
        examples, test_examples: images over all classes [count], multiples of `classes`.
        binary: one output unit instead of two, for two classes.
        pool: side of the squares that are averaged [pixels]: 1, 2 or 4.

    Returns:
        inputs float32 `[n, 3, 32 / pool, 32 / pool]`, labels int64 `[n]`, ordered by class and then as in the file.

    Raises:
        UnusableData: a count is not a positive multiple of `classes` or exceeds the file, or `pool` has another value.
    """
    if not 1 <= classes <= len(CLASSES):
        raise UnusableData(f"cannot select from CIFAR-10\n  classes must lie in 1..{len(CLASSES)} (got {classes})")
    mistakes = uneven(classes, examples=examples, test_examples=test_examples)
    if pool not in (1, 2, 4):
        mistakes.append(f"  pool must be 1, 2 or 4 (got {pool})")
    if mistakes:
        raise UnusableData("\n".join(["cannot select from CIFAR-10", *mistakes]))
    chosen = first_of_each(images, classes=classes, train=examples // classes, test=test_examples // classes)
    size = "" if pool == 1 else f" averaged to {32 // pool}x{32 // pool}"
    return Dataset(
        standardise(chosen.train_images, pool),
        chosen.train_labels.astype(np.int64),
        standardise(chosen.test_images, pool),
        chosen.test_labels.astype(np.int64),
        classes=output_units(classes, binary),
        description=f"CIFAR-10, {', '.join(CLASSES[:classes])}: {examples} training and {test_examples} test images{size}",
        source=SOURCE,
        licence=LICENCE,
    )


def standardise(images: UInt8[ndarray, "n 32 32 3"], pool: int = 1) -> Float32[ndarray, "n 3 size size"]:
    """Return the means of `pool` x `pool` pixels in units of their channel's standard deviation, channels first.

    The sum of a square is a whole number, so one table per channel in float64 gives each mean the float32 nearest to
    its exact value.
    """
    n, size = len(images), 32 // pool
    sums = images.reshape(n, size, pool, size, pool, 3).sum(axis=(2, 4), dtype=np.int64)
    tables = ((np.arange(255 * pool**2 + 1)[:, None] / pool**2 - CHANNEL_MEAN) / CHANNEL_STD).astype(np.float32)
    return np.stack([tables[:, channel][sums[..., channel]] for channel in range(3)], axis=1)
