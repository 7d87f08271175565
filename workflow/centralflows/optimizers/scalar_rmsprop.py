"""Scalar RMSProp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .ema import SquaredGradientAverage


@dataclass(frozen=True)
class ScalarRMSProp(SquaredGradientAverage):
    r"""Scalar RMSProp, $w \leftarrow w - \eta \nabla L / (\sqrt{\nu} + \epsilon)$, with one step size for all weights.

    $\nu$ is an average of $|\nabla L|^2$. For the arguments see `SquaredGradientAverage`.
    """

    isotropic: ClassVar[bool] = True

    def square(self, gradient: Tensor) -> Tensor:
        return (gradient * gradient).sum().reshape(1)
