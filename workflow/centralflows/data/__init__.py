"""Datasets as numpy arrays, with their sources and digests. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from .. import config
from .examples import Dataset

__all__ = ["Dataset", "build"]


def build(dataset: config.Dataset, full_cifar10: Path | None = None) -> Dataset:
    """The configured dataset.

    Args:
        full_cifar10: the full CIFAR-10 as an npz; needed where the subset in the repository is not enough.
    """
    options = dataset.model_dump(exclude={"name"})
    if dataset.name == "sorting":
        from .sorting import sorting

        return sorting(**options)
    from . import cifar10

    return cifar10.select(cifar10.load(full_cifar10 or cifar10.SUBSET), **options)
