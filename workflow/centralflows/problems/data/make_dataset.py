"""The dataset that a configuration describes, as numpy arrays. It imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...common.errors import UnusableData
from ...common.references import load
from ...config import plugins
from ...config.datasets import AnyDataset, DatasetPluginConfig
from .dataset import Dataset
from .dataset_contract import faults


def make_dataset(config: AnyDataset, files: Mapping[str, Path] | None = None) -> Dataset:
    """Return the configured dataset.

    Args:
        files: "cifar10", the full CIFAR-10 as an npz, needed if the subset in the repository is too small; "train" and
            "dev", those of SST-2, by default in the configured folder.

    Raises:
        UnusableData: the dataset cannot be obtained or is malformed; the message has the cure.
        PluginError: a plugin cannot be made.
    """
    if isinstance(config, DatasetPluginConfig):
        return _own(config)
    return load(config.implementation)(**config.arguments(), **(files or {}))


def _own(config: DatasetPluginConfig) -> Dataset:
    """Return the dataset that a user's function makes."""
    made = plugins.make(config.name, **config.options)
    if found := faults(made):
        raise UnusableData("\n  ".join([f"{config.name} returns a dataset that cannot be used", *found]))
    return made
