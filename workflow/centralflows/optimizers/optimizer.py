r"""The interface of an optimizer, which is all that the flows depend on.

An optimizer is preconditioned descent $w \leftarrow w - P(t, s)^{-1} \nabla L(w)$ with a diagonal preconditioner $P$
and an optimizer state $s$. `step` is the optimizer's step counter $t$: it is 1 at the first update, and in a flow it
advances by 1 per unit of time.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from numbers import Real
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..derivatives.svec import triangle

State = tuple[Tensor, ...]
Schedule = Callable[[Tensor], Tensor]


class Optimizer(ABC):
    """The interface of every optimizer: pure functions of (step, state, gradient).

    Subclasses are frozen dataclasses of hyperparameters. A state is a tuple of tensors named by `state_names`.

    Attributes:
        state_names, state_units: names of the parts of the state, and their units ("1" by default).
        isotropic: whether the optimizer treats all directions of weight space alike: P is a multiple of the identity,
            and the state depends on the length of a gradient only, not even on the number of weights. Flows may then
            leave out weights that have no effect (`input_subspace`).
    """

    state_names: ClassVar[tuple[str, ...]] = ()
    state_units: ClassVar[tuple[str, ...]] = ()
    isotropic: ClassVar[bool] = False

    @abstractmethod
    def initial_state(self, w: Float[Tensor, " p"]) -> State:
        """Return the state before the first step."""

    @abstractmethod
    def update(self, step: Tensor, state: State, gradient: Float[Tensor, " p"]) -> State:
        """Return the state that the discrete optimizer uses at `step`, from the state before it and the gradient."""

    @abstractmethod
    def preconditioner(self, step: Tensor, state: State) -> Float[Tensor, " *p"]:
        """Return diag(P) `[p]`, or `[1]` if P is a multiple of the identity; positive [gradient / weight]."""

    @abstractmethod
    def drift(self, step: Tensor, state: State, gradient: Float[Tensor, " p"]) -> State:
        """Return $ds/dt$ of the stable flow, at a smooth gradient."""

    @property
    def learning_rate_label(self) -> float | str:
        """The learning rate `lr` as a number, "schedule" if it is a function of the step, or "" if there is none."""
        lr = getattr(self, "lr", None)
        return "schedule" if callable(lr) else float(lr) if isinstance(lr, Real | Tensor) else ""

    def asymptotic(self) -> Optimizer:
        """Return the optimizer late in a run, without effects of its first steps and with the same learning rate."""
        return self

    def state_with(self, step: Tensor, preconditioner: Float[Tensor, " *p"]) -> State:
        """Return the state that has a given preconditioner, of the shape of `preconditioner`.

        Only a start with a given preconditioner needs it.

        Raises:
            ValueError: there is no such state, or the optimizer does not implement this.
        """
        raise ValueError(f"{type(self).__name__} does not say which state has a given preconditioner")

    def drift_curvature(self, step: Tensor, state: State, gradient: Tensor, products: Float[Tensor, "p k"]) -> State:
        r"""Return the contribution of oscillations to the drift, per coordinate of $X$.

        An oscillation of covariance $\Sigma = U X U'$ gives the gradient the covariance $(HU) X (HU)'$, and to second
        order $E[f(s, g)] = f(s, g) + \tfrac12 \langle \nabla_g^2 f, (HU) X (HU)' \rangle$.

        Args:
            products: $H U$.

        Returns:
            For each part of the state a matrix `[size, q]`; times `svec(X)` it is the second term.

        Source: arXiv:2410.24206, the time average of the state's dynamics.
        """
        rows, columns, scales = triangle(products.shape[1])

        def bilinear(u: Tensor, v: Tensor) -> State:
            def along_u(g: Tensor) -> State:
                return torch.func.jvp(lambda x: self.drift(step, state, x), (g,), (u,))[1]

            return torch.func.jvp(along_u, (gradient,), (v,))[1]

        terms = [bilinear(products[:, i], products[:, j]) for i, j in zip(rows, columns, strict=True)]
        half = torch.as_tensor(scales / 2, dtype=gradient.dtype, device=gradient.device)
        return tuple(torch.stack(parts, dim=-1) * half for parts in zip(*terms, strict=True))

    def preconditioner_rate(self, step: Tensor, state: State, step_rate: float, state_rate: State) -> Tensor:
        """Return $dP/dt$ along a change of step counter and state, in the shape of `preconditioner`."""
        rate = torch.full_like(step, step_rate)
        return torch.func.jvp(lambda t, *s: self.preconditioner(t, s), (step, *state), (rate, *state_rate))[1]

    def preconditioner_rates(self, step: Tensor, state: State, state_rates: State) -> Float[Tensor, "*p q"]:
        """Return $dP/dt$ along several changes of the state, the columns of `[size, q]`, with the step counter held."""
        columns = zip(*(rates.unbind(-1) for rates in state_rates), strict=True)
        return torch.stack([self.preconditioner_rate(step, state, 0.0, rates) for rates in columns], dim=-1)


def as_schedule(lr: float | Schedule) -> Schedule:
    """Return a learning rate as a function of the step counter.

    Raises:
        ValueError: a constant learning rate is not a positive number.
    """
    if callable(lr):
        return lambda step: torch.as_tensor(lr(step), dtype=step.dtype, device=step.device)
    if not isinstance(lr, Real | Tensor) or not 0 < lr < math.inf:
        raise ValueError(f"the learning rate must be a positive number or a function of the step counter (got {lr!r})")
    return lambda step: torch.full_like(step, lr)
