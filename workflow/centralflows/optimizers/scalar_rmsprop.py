"""Scalar RMSProp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .ema import SquaredGradientAverage


@dataclass(frozen=True)
class ScalarRMSProp(SquaredGradientAverage):
    r"""$w \leftarrow w - \eta \nabla L / (\sqrt{\nu} + \epsilon)$ with $\nu$ an average of $|\nabla L|^2$: one step size
    for all weights. Arguments: see `SquaredGradientAverage`."""

    isotropic: ClassVar[bool] = True

    def square(self, gradient: Tensor) -> Tensor:
        return (gradient * gradient).sum().reshape(1)
