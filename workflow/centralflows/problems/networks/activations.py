"""Activation functions by name."""

from __future__ import annotations

import warnings

from torch import Tensor, nn
from torch.nn import functional


class ReLU(nn.ReLU):
    """ReLU with a warning, because the theory of central flows assumes a smooth loss.

    Attributes:
        smooth: use GELU instead. The derivative check sets it, because its differences step over the kinks; it still
            tests the rest of the network.
    """

    smooth = False

    def __init__(self):
        super().__init__()
        warnings.warn(
            "relu is not smooth: its second and third derivatives vanish almost everywhere, so the flows do not see the "
            "curvature that sits in its kinks; prefer gelu, silu or tanh",
            stacklevel=2,
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.gelu(x) if self.smooth else super().forward(x)


ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "silu": nn.SiLU, "relu": ReLU, "tanh": nn.Tanh}


def activation(name: str) -> nn.Module:
    """Return an activation layer; it has no parameters, so a network may use it in many places.

    Raises:
        ValueError: there is no such activation.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"no activation is called {name!r}; there are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()
