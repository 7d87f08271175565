"""RMSProp."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .ema import SquaredGradientAverage


@dataclass(frozen=True)
class RMSProp(SquaredGradientAverage):
    r"""$w \leftarrow w - \eta \nabla L / (\sqrt{\nu} + \epsilon)$ with $\nu$ an average of $\nabla L \odot \nabla L$, each
    weight on its own. Arguments: see `SquaredGradientAverage`."""

    def square(self, gradient: Tensor) -> Tensor:
        return gradient * gradient
