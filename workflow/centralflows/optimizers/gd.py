"""Gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .optimizer import Optimizer, Schedule, State, as_schedule


@dataclass(frozen=True)
class GradientDescent(Optimizer):
    r"""Gradient descent, $w \leftarrow w - \eta(t) \nabla L(w)$, with the preconditioner $1/\eta(t)$ and no state.

    Args:
        lr: learning rate, or a function of the step counter (a float64 tensor) that returns one.
    """

    lr: float | Schedule

    isotropic: ClassVar[bool] = True

    def __post_init__(self):
        as_schedule(self.lr)

    def initial_state(self, w: Tensor) -> State:
        return ()

    def update(self, step: Tensor, state: State, gradient: Tensor) -> State:
        return ()

    def preconditioner(self, step: Tensor, state: State) -> Tensor:
        return as_schedule(self.lr)(step).reciprocal().reshape(1)

    def drift(self, step: Tensor, state: State, gradient: Tensor) -> State:
        return ()

    def drift_curvature(self, step: Tensor, state: State, gradient: Tensor, products: Tensor) -> State:
        return ()
