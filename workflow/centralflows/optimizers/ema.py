r"""Exponential moving averages of squared gradients, the common base of Scalar RMSProp and RMSProp.

The discrete average is $\nu_t = \beta_2 \nu_{t-1} + (1 - \beta_2) s_t$ with $s_t$ the square of the gradient at $w_t$.
The step from $w_t$ already uses $\nu_t$. In terms of $\nu_t$ itself,

$$\nu_t - \nu_{t-1} = (1 - \beta_2)(s_t - \nu_{t-1}) = \frac{1 - \beta_2}{\beta_2} (s_t - \nu_t).$$

The $\nu$ of a flow corresponds to the $\nu_t$ with which the weights move, so its drift is the right-hand side.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from numbers import Real
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..derivatives.svec import triangle
from .optimizer import Optimizer, Schedule, State, as_schedule


@dataclass(frozen=True)
class SquaredGradientAverage(Optimizer):
    r"""An optimizer with $P = (\sqrt{\hat\nu} + \epsilon) / \eta(t)$.

    $\hat\nu$ is $\nu$, or $\nu / (1 - \beta_2^t)$ with bias correction. The average $\nu$ starts at 0.

    Args:
        lr: learning rate, or a function of the step counter (a float64 tensor) that returns one.
        beta2: fraction of the average that is kept at each step, in (0, 1).
        eps: added outside the root [gradient].
        bias_correction: divide the average by its total weight so far. The step counter of a flow is continuous, so the
            correction equals that of the discrete optimizer at whole steps and interpolates between them.
    """

    lr: float | Schedule
    beta2: float
    eps: float = 0.0
    bias_correction: bool = False

    state_names: ClassVar[tuple[str, ...]] = ("nu",)
    state_units: ClassVar[tuple[str, ...]] = ("loss^2 / weight^2",)

    def __post_init__(self):
        as_schedule(self.lr)
        if not isinstance(self.beta2, Real) or not 0 < self.beta2 < 1:
            raise ValueError(f"beta2 must lie between 0 and 1 (got {self.beta2!r})")
        if not isinstance(self.eps, Real) or not 0 <= self.eps < math.inf:
            raise ValueError(f"eps must be 0 or a positive number (got {self.eps!r})")

    @abstractmethod
    def square(self, gradient: Float[Tensor, " p"]) -> Float[Tensor, " *p"]:
        """Return the averaged quantity, in the shape of the state."""

    def initial_state(self, w: Tensor) -> State:
        return (torch.zeros_like(self.square(w)),)

    def update(self, step: Tensor, state: State, gradient: Tensor) -> State:
        (nu,) = state
        return (torch.lerp(nu, self.square(gradient), 1 - self.beta2),)

    def drift(self, step: Tensor, state: State, gradient: Tensor) -> State:
        (nu,) = state
        return ((self.square(gradient) - nu).mul_((1 - self.beta2) / self.beta2),)

    def learning_rate(self, step: Tensor) -> float:
        return as_schedule(self.lr)(step).item()

    def drift_curvature(self, step: Tensor, state: State, gradient: Tensor, products: Tensor) -> State:
        # The square is quadratic, so half its second derivative is its polar form, (sq(u + v) - sq(u - v)) / 4.
        rows, columns, scales = triangle(products.shape[1])
        squares = [
            scale * (self.square(products[:, i] + products[:, j]) - self.square(products[:, i] - products[:, j])) / 4
            for i, j, scale in zip(rows, columns, scales.tolist(), strict=True)
        ]
        return ((1 - self.beta2) / self.beta2 * torch.stack(squares).T,)

    def _slope(self, step: Tensor, nu: Tensor) -> Tensor:
        """Return dP / dnu."""
        weight = 1 - self.beta2**step if self.bias_correction else 1.0
        tiny = torch.finfo(nu.dtype).tiny
        slope = torch.where(nu > tiny * weight, 0.5 * (weight * nu.clamp_min(tiny)).rsqrt(), 0.0)
        return slope / as_schedule(self.lr)(step)

    def preconditioner_rates(self, step: Tensor, state: State, state_rates: State) -> Tensor:
        (nu,), (nu_rates,) = state, state_rates
        return (self._slope(step, nu) * nu_rates.T).T

    def preconditioner_rate(self, step: Tensor, state: State, step_rate: float, state_rate: State) -> Tensor:
        (nu,), (nu_rate,) = state, state_rate
        rate = self._slope(step, nu) * nu_rate
        if step_rate and (self.bias_correction or callable(self.lr)):
            rate = (
                rate + step_rate * torch.func.jvp(lambda t: self.preconditioner(t, state), (step,), (step / step,))[1]
            )
        return rate

    def asymptotic(self) -> Optimizer:
        return replace(self, bias_correction=False)

    def state_with(self, step: Tensor, preconditioner: Tensor) -> State:
        root = preconditioner * as_schedule(self.lr)(step) - self.eps
        if (root < 0).any():
            raise ValueError(f"no average has this preconditioner: it is smaller than eps / lr ({self.eps:g} / lr)")
        weight = 1 - self.beta2**step if self.bias_correction else 1.0
        return ((root**2 * weight).to(preconditioner),)

    def preconditioner(self, step: Tensor, state: State) -> Tensor:
        (nu,) = state
        if self.bias_correction:
            nu = nu / (1 - self.beta2**step)
        # A weight that never had a gradient has nu = 0. There the root has no derivative, and P must stay positive.
        root = nu.clamp_min(torch.finfo(nu.dtype).tiny).sqrt_()
        return (root + self.eps if self.eps else root) / as_schedule(self.lr)(step)
