"""Checks before a run: values that are not finite, and a start far beyond the edge of stability."""

from __future__ import annotations

import warnings

import torch
from jaxtyping import Float
from torch import Tensor

from ..common.errors import Diverged
from ..derivatives.point import value_and_gradient
from ..problems.objective import Objective
from ..problems.trees import tensors
from ..problems.trial import try_loss

FAR = 3.0
"""Effective sharpness above which a central flow may have no solution; attention often starts there."""


def check_values(objective: Objective, w: Float[Tensor, " p"]) -> None:
    """Check that weights, data, loss and gradient are usable.

    Raises:
        Diverged: one of them is not finite.
        UnusableNetwork, OtherWeights: the loss cannot be evaluated, or depends on other parameters.
    """
    named = [("initial weights", w)]
    named += [(name, getattr(part, name)) for part in objective.batches for name in ("inputs", "targets")]
    for name, data in named:
        # In nested data, infinities may be meant: attention masks hold them where nothing is attended to.
        nested = not isinstance(data, Tensor)
        if any((x.isnan() if nested else ~x.isfinite()).any() for x in tensors(data)):
            raise Diverged(f"the {name} hold values that are not finite")
    try_loss(objective, w)
    if not all(torch.isfinite(x).all() for x in value_and_gradient(objective, w)):
        raise Diverged("the loss or its gradient is not finite at the initial weights, before any step")


def warn_beyond_the_edge(sharpness: float) -> None:
    """Warn if an effective sharpness is so far beyond the edge that a central flow may not exist there."""
    if sharpness > FAR:
        warnings.warn(
            f"the effective sharpness at the start is {sharpness:.3g}, and the optimizer is stable up to 2. A central flow may "
            f"not exist so far beyond the edge: {2 / sharpness:.2g} times the learning rate would be stable there, and "
            "warm_start= lets the optimizer take some steps before the flows start",
            stacklevel=4,
        )
