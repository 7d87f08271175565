"""Loss criteria: `(outputs, labels) -> loss`."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def mean_squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """Half the squared distance between outputs and one-hot labels, averaged over the labels that are not masked.

    Args:
        outputs: `[..., classes]`, or `[..., 1]` for two classes, of which the target is then the label itself.
        labels: integers `[...]`; -1 masks a position.
    """
    kept = (labels >= 0).to(outputs.dtype)
    known, units = labels.clamp_min(0), outputs.shape[-1]
    targets = (known[..., None] if units == 1 else functional.one_hot(known, units)).to(outputs.dtype)
    return 0.5 * ((outputs - targets).square().sum(-1) * kept).sum() / kept.sum()


CRITERIA = {"mse": mean_squared_error}
