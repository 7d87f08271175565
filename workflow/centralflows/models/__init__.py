"""Networks, built from layers whose third derivatives are right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .. import config
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


def build(model: config.Model, dataset: Dataset, *, seed: int) -> nn.Module:
    """The configured network for a dataset, float32, on the CPU: the same weights for a seed on every device.

    Raises:
        Unfitting: the examples have a size that the network cannot take.
    """
    options = model.model_dump(exclude={"name"})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return NETWORKS[model.name](**_sizes(dataset), **options)
        except ValueError as error:
            raise Unfitting(f"model {model.name!r} does not fit the dataset ({dataset.description}): {error}") from None


def _sizes(dataset: Dataset) -> dict[str, Any]:
    """What a network must know of its examples: the shape of one, or alphabet and length where they are tokens."""
    shape = dataset.inputs.shape[1:]
    if dataset.inputs.dtype.kind == "f":
        return {"shape": shape, "outputs": dataset.classes}
    return {"symbols": dataset.symbols, "length": shape[0], "outputs": dataset.classes}
