"""Networks, built from layers whose third derivatives are right."""

from __future__ import annotations

import torch
from torch import nn

from .. import config
from ..data.examples import Dataset
from .cnn import cnn
from .mlp import mlp
from .transformer import Transformer

__all__ = ["Transformer", "build", "cnn", "mlp"]


def build(model: config.Model, dataset: Dataset, *, seed: int) -> nn.Module:
    """The configured network for a dataset, float32, on the CPU: the same weights for a seed on every device."""
    shape = dataset.inputs.shape[1:]
    options = model.model_dump(exclude={"name"})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if model.name == "mlp":
            return mlp(int(torch.tensor(shape).prod()), dataset.classes, **options)
        if model.name == "cnn":
            return cnn(shape[-1], dataset.classes, planes=shape[0], **options)
        return Transformer(dataset.symbols, shape[0], outputs=dataset.classes, **options)
