"""Activation functions by name."""

from __future__ import annotations

import warnings

from torch import Tensor, nn
from torch.nn import functional


class ReLU(nn.ReLU):
    """ReLU, with a warning: the theory of central flows takes the loss to be smooth.

    Attributes:
        smooth: take GELU instead. The derivative probe does so, as its differences step over the kinks; all else of the
            network is still tried.
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
    """A layer without parameters, which a network may use in many places.

    Raises:
        ValueError: there is no such activation.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"no activation is called {name!r}; there are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()
