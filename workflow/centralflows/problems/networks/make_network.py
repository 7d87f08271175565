"""The network that a configuration describes for a dataset."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...common.errors import UserError
from ...common.references import load
from ...config import plugins
from ...config.networks import AnyNetwork, NetworkPluginConfig
from ..data.dataset import Dataset


class Unfitting(UserError, ValueError):
    """The network cannot be built for this dataset."""


def make_network(config: AnyNetwork, dataset: Dataset, *, seed: int) -> nn.Module:
    """Return the configured network for a dataset, float32, on the CPU; a seed gives the same weights on every device.

    Raises:
        Unfitting: the network cannot take such examples, or examples of such a size.
        PluginError: a plugin cannot be made.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(config, NetworkPluginConfig):
            return _own(config, dataset)
        if dataset.kind not in config.takes:
            kind = dataset.kind or f"arrays of shape {list(dataset.inputs.shape[1:])}"
            raise Unfitting(
                f"model {config.name!r} takes {' or '.join(config.takes)}, and the dataset ({dataset.description}) has {kind}"
            )
        try:
            return load(config.implementation)(**_sizes(dataset), **config.arguments())
        except ValueError as error:
            raise Unfitting(
                f"model {config.name!r} does not fit the dataset ({dataset.description}): {error}"
            ) from None


def _own(config: NetworkPluginConfig, dataset: Dataset) -> nn.Module:
    """Return the network that a user's class or function makes; sizes in the options override those of the dataset."""
    made = plugins.make(config.name, **plugins.accepted(config.name, _sizes(dataset)) | config.options)
    if not isinstance(made, nn.Module):
        raise plugins.PluginError(f"{config.name}: must make a torch.nn.Module, not {type(made).__name__}")
    return made.to("cpu", torch.float32)


def _sizes(dataset: Dataset) -> dict[str, Any]:
    """Return the sizes that a network needs: the shape of an example, or alphabet and length for tokens."""
    shape = dataset.inputs.shape[1:]
    if dataset.kind != "tokens":
        return {"shape": shape, "outputs": dataset.classes}
    return {"symbols": dataset.symbols, "length": shape[0], "outputs": dataset.classes}
