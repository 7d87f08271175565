"""A scalar function of nested weights, as a network without inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from .trees import mapped, tensors


class FunctionNetwork(nn.Module):
    """A network whose output is the function at its weights.

    Args:
        loss: gets the weights in the form of `w0`.
        w0: initial weights, floating tensors.

    Raises:
        TypeError: the loss is no function, or `w0` holds something else.
    """

    def __init__(self, loss: Callable[[Any], Tensor], w0: Any):
        super().__init__()
        if not callable(loss):
            raise TypeError(f"the loss must be a function of the weights (got {type(loss).__name__})")
        self._form = mapped(lambda x: x.detach(), w0)
        found = tensors(self._form)
        if not found or not all(x.is_floating_point() for x in found):
            raise TypeError("w0 must hold floating tensors, and no others")
        self.weights = nn.ParameterList([nn.Parameter(x.clone()) for x in found])
        self._loss = loss

    def forward(self) -> Tensor:
        values = iter(self.weights)
        return self._loss(mapped(lambda _: next(values), self._form))
