"""Loss criteria: `(outputs, labels) -> loss`."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def mean_squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """Half the squared distance between outputs and one-hot labels, averaged over the labels that are not masked.

    Args:
        outputs: `[..., classes]`.
        labels: integers `[...]`; -1 masks a position.
    """
    kept = (labels >= 0).to(outputs.dtype)
    targets = functional.one_hot(labels.clamp_min(0), outputs.shape[-1]).to(outputs.dtype)
    return 0.5 * ((outputs - targets).square().sum(-1) * kept).sum() / kept.sum()


CRITERIA = {"mse": mean_squared_error}
