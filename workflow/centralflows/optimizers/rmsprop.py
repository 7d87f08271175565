"""RMSProp."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .ema import SquaredGradientAverage


@dataclass(frozen=True)
class RMSProp(SquaredGradientAverage):
    r"""RMSProp, $w \leftarrow w - \eta \nabla L / (\sqrt{\nu} + \epsilon)$, with one step size for each weight.

    $\nu$ is an average of $\nabla L \odot \nabla L$. For the arguments see `SquaredGradientAverage`.
    """

    def square(self, gradient: Tensor) -> Tensor:
        return gradient * gradient
