"""Loss criteria `(outputs, labels) -> loss`: means over the labels that are not masked.

Outputs are `[..., units]` and labels integers `[...]`. A single unit separates two classes with labels 0 and 1;
otherwise there is one unit for each class. Label -1 masks a position.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from ..common.errors import UnusableData
from ..config import plugins
from ..config.criterion import AnyCriterion


@dataclass(frozen=True)
class MaskedMean:
    """The mean of losses over the labels that are not masked; 0 if all are masked.

    Attributes:
        losses: `(outputs, labels) -> losses`, one for each label; masked labels are given as 0, and their losses are
            left out.
    """

    losses: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss.

        Raises:
            UnusableData: the labels are not classes, or there is not one for each output vector.
        """
        if labels.is_floating_point():
            raise UnusableData(
                f"mse and cross-entropy compare with class labels, which are whole numbers (these are {labels.dtype}); "
                "for other labels give a criterion of your own"
            )
        if outputs.shape[:-1] != labels.shape:
            raise UnusableData(
                f"mse and cross-entropy need outputs of shape [{_listed(labels.shape)}, units] for labels of shape "
                f"[{_listed(labels.shape)}] (got [{_listed(outputs.shape)}])"
            )
        losses = self.losses(outputs, labels.clamp_min(0)) * counted(labels).to(outputs.dtype)
        return losses.sum() / self.weight(labels).clamp_min(1).to(outputs.dtype)

    def weight(self, labels: Tensor) -> Tensor:
        """Return the number of counted labels: the weight of a microbatch's mean in the mean over all examples."""
        return counted(labels).sum()


def _listed(shape: torch.Size) -> str:
    return ", ".join(map(str, shape))


def counted(labels: Tensor) -> Tensor:
    """Return a mask of the labels that count."""
    return labels >= 0


def squared_errors(outputs: Tensor, labels: Tensor) -> Tensor:
    r"""Return $\tfrac12 |f - y|^2$ with y one-hot, or $\pm 1$ for a single unit."""
    if outputs.shape[-1] == 1:
        targets = _signs(outputs, labels)[..., None]
    else:
        targets = functional.one_hot(labels, outputs.shape[-1]).to(outputs.dtype)
    return 0.5 * (outputs - targets).square().sum(-1)


def log_losses(outputs: Tensor, labels: Tensor) -> Tensor:
    r"""Return $-\log p(y)$, p the softmax of the outputs, or $\log(1 + e^{-y f})$ with y = $\pm 1$ for a single
    unit."""
    if outputs.shape[-1] == 1:
        return -functional.logsigmoid(_signs(outputs, labels) * outputs[..., 0])
    # A product with one-hot labels replaces a gather: its derivatives are deterministic on every device.
    one_hot = functional.one_hot(labels, outputs.shape[-1]).to(outputs.dtype)
    return -(outputs.log_softmax(-1) * one_hot).sum(-1)


def _signs(outputs: Tensor, labels: Tensor) -> Tensor:
    return (2 * labels - 1).to(outputs.dtype)


mean_squared_error = MaskedMean(squared_errors)
cross_entropy = MaskedMean(log_losses)

CRITERIA = {"mse": mean_squared_error, "cross-entropy": cross_entropy}


def make_criterion(criterion: AnyCriterion) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the configured criterion. A plugin keeps its `weight(labels)`, if it has one.

    Raises:
        PluginError: a plugin cannot be loaded.
    """
    if isinstance(criterion, str):
        return CRITERIA[criterion]
    found = plugins.resolve(criterion.name)
    if isinstance(found, type):
        return plugins.make(criterion.name, **criterion.options)
    bound = partial(found, **criterion.options)
    if hasattr(found, "weight"):
        bound.weight = found.weight
    return bound


def accuracy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the fraction of counted labels that the outputs predict; 0 if none counts.

    The prediction is the largest output, or the sign of a single unit.
    """
    named = (outputs[..., 0] > 0).long() if outputs.shape[-1] == 1 else outputs.argmax(-1)
    kept = counted(labels)
    right = ((named == labels) & kept).sum()
    return right.to(torch.float64) / kept.sum().clamp_min(1)
