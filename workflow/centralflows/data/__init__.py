"""Datasets as numpy arrays, with their sources and digests. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .. import plugins, schema
from ..errors import UnusableData
from . import cifar10, contract, copying, digits, points, sorting, sst2
from .examples import Dataset

__all__ = ["Dataset", "build"]

Files = Mapping[str, Path]


def _cifar10(_: schema.Dataset, files: Files, options: dict[str, Any]) -> Dataset:
    return cifar10.select(cifar10.load(files.get("cifar10", cifar10.SUBSET)), **options)


def _sst2(dataset: schema.Dataset, files: Files, options: dict[str, Any]) -> Dataset:
    return sst2.sst2(files or sst2.files(dataset.path), **options)


FROM_FILES: dict[str, Callable[[schema.Dataset, Files, dict[str, Any]], Dataset]] = {
    "cifar10": _cifar10,
    "sst2": _sst2,
}
"""Datasets that are read from files, by name."""

MADE: dict[str, Callable[..., Dataset]] = {
    "circles": points.circles,
    "classification": points.classification,
    "copying": copying.copying,
    "digits": digits.digits,
    "moons": points.moons,
    "sorting": sorting.sorting,
}
"""Datasets that depend on their options alone, by name."""


def build(dataset: schema.Dataset, files: Files | None = None) -> Dataset:
    """The configured dataset.

    Args:
        files: "cifar10", the full CIFAR-10 as an npz, needed where the subset in the repository is not enough; "train"
            and "dev", those of SST-2, by default in the configured folder.

    Raises:
        UnusableData: the dataset cannot be had so, or is not what it should be; the message has the cure.
        PluginError: one of the user's own cannot be made.
    """
    if isinstance(dataset, schema.DatasetPlugin):
        return _own(dataset)
    options = dataset.model_dump(exclude={"name"})
    if dataset.name in MADE:
        return MADE[dataset.name](**options)
    return FROM_FILES[dataset.name](dataset, files or {}, options)


def _own(dataset: schema.DatasetPlugin) -> Dataset:
    """The dataset that a function of the user returns."""
    made = plugins.make(dataset.name, **dataset.options)
    if faults := contract.faults(made):
        raise UnusableData("\n  ".join([f"{dataset.name} returns a dataset that cannot be used", *faults]))
    return made
