"""Networks, built from layers whose third derivatives are right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .. import plugins, schema
from ..data.examples import Dataset
from ..errors import UserError
from .cnn import cnn
from .lstm import Lstm
from .mamba import Mamba
from .mlp import mlp
from .resnet import ResNet
from .transformer import Transformer
from .vit import Vit

__all__ = ["NETWORKS", "Lstm", "Mamba", "ResNet", "Transformer", "Unfitting", "Vit", "build", "cnn", "mlp"]

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "cnn": cnn,
    "resnet": ResNet,
    "vit": Vit,
    "transformer": Transformer,
    "lstm": Lstm,
    "mamba": Mamba,
}


class Unfitting(UserError, ValueError):
    """The network cannot be built for this dataset."""


def build(model: schema.Model, dataset: Dataset, *, seed: int) -> nn.Module:
    """The configured network for a dataset, float32, on the CPU: the same weights for a seed on every device.

    Raises:
        Unfitting: the network cannot take such examples, or examples of such a size.
        PluginError: one of the user's own cannot be made.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(model, schema.ModelPlugin):
            return _own(model, dataset)
        if dataset.kind not in model.takes:
            kind = dataset.kind or f"arrays of shape {list(dataset.inputs.shape[1:])}"
            raise Unfitting(
                f"model {model.name!r} takes {' or '.join(model.takes)}, and the dataset ({dataset.description}) has {kind}"
            )
        try:
            return NETWORKS[model.name](**_sizes(dataset), **model.model_dump(exclude={"name"}))
        except ValueError as error:
            raise Unfitting(f"model {model.name!r} does not fit the dataset ({dataset.description}): {error}") from None


def _own(model: schema.ModelPlugin, dataset: Dataset) -> nn.Module:
    """The network that a class or function of the user makes; what the options say of sizes goes before the dataset."""
    made = plugins.make(model.name, **plugins.accepted(model.name, _sizes(dataset)) | model.options)
    if not isinstance(made, nn.Module):
        raise plugins.PluginError(f"{model.name}: must make a torch.nn.Module, not {type(made).__name__}")
    return made.to("cpu", torch.float32)


def _sizes(dataset: Dataset) -> dict[str, Any]:
    """What a network must know of its examples: the shape of one, or alphabet and length where they are tokens."""
    shape = dataset.inputs.shape[1:]
    if dataset.kind != "tokens":
        return {"shape": shape, "outputs": dataset.classes}
    return {"symbols": dataset.symbols, "length": shape[0], "outputs": dataset.classes}
