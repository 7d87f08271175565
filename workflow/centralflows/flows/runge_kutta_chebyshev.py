"""Stabilised Runge-Kutta steps, for flows that grow stiff.

Euler steps of a flow are stable up to a product of step and sharpness of 2. The stability polynomial of s stages can be
a Chebyshev polynomial, shifted and scaled so that it stays below one on a much longer interval, up to about $s^2 / 2$.
The stages then follow from the recurrence of these polynomials. The method is of second order.

Source: J. G. Verwer, "Explicit Runge-Kutta methods for parabolic partial differential equations", Appl. Numer. Math. 22
(1996); B. P. Sommeijer, L. F. Shampine, J. G. Verwer, "RKC: an explicit solver for parabolic PDEs", J. Comput. Appl.
Math. 88 (1998).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from numpy.polynomial import Chebyshev
from torch import Tensor

from ..optimizers.optimizer import State

DAMPING = 2.0
"""Damping of the stability polynomial. The usual 2/13 gives a stable interval longer by a fifth, but shrinks errors in
fast directions by only a twentieth per step, so that they ring. This value shrinks them by a third."""


class Scheme(NamedTuple):
    r"""A method of s stages: $Y_0 = y$, $Y_1 = y + \tilde\mu_1 h F_0$, and $Y_s$ is one step of length h later, where

    $$Y_j = (1 - \mu_j - \nu_j) y + \mu_j Y_{j-1} + \nu_j Y_{j-2} + \tilde\mu_j h F_{j-1} + \tilde\gamma_j h F_0.$$

    Attributes:
        reach: largest product of step and sharpness at which the method is stable.
        times: times of the stages, in steps `[s + 1]`.
        mu, nu, mu_slope, first_slope: $\mu$, $\nu$, $\tilde\mu$ and $\tilde\gamma$ of the stages, zero where undefined.
    """

    reach: float
    times: Float[ndarray, " stages"]
    mu: Float[ndarray, " stages"]
    nu: Float[ndarray, " stages"]
    mu_slope: Float[ndarray, " stages"]
    first_slope: Float[ndarray, " stages"]


@lru_cache(maxsize=64)
def scheme(stages: int) -> Scheme:
    """Return the method with a number of stages, which must be two or more."""
    w0 = 1 + DAMPING / stages**2
    polynomials = [Chebyshev.basis(j) for j in range(stages + 1)]
    value, first, second = (np.array([p.deriv(order)(w0) for p in polynomials]) for order in range(3))
    w1 = first[-1] / second[-1]
    later, before, two_before = np.s_[2:], np.s_[1:-1], np.s_[:-2]
    b, times, mu, nu, mu_slope, first_slope = np.zeros((6, stages + 1))
    b[later] = second[later] / first[later] ** 2
    b[:2] = b[2]
    times[later] = w1 * second[later] / first[later]
    times[1] = mu_slope[1] = b[1] * w1
    mu[later], nu[later] = 2 * w0 * b[later] / b[before], -b[later] / b[two_before]
    mu_slope[later] = 2 * w1 * b[later] / b[before]
    first_slope[later] = -(1 - b[before] * value[before]) * mu_slope[later]
    return Scheme((w0 + 1) / w1, times, mu, nu, mu_slope, first_slope)


def stages_for(stiffness: float) -> int:
    """Return the smallest number of stages that is stable for a product of step and sharpness."""
    stages = max(2, int((1.5 * max(stiffness, 0.0)) ** 0.5))  # no method of s stages is stable beyond 2/3 s^2
    while scheme(stages).reach < stiffness:
        stages += 1
    return stages


def chebyshev_step(
    velocity: Callable[[float, State], State], time: float, state: State, begin: State, step: float, stages: int
) -> State:
    """Return the change of the state in one step.

    Args:
        velocity: returns the rate of each part of the state, given a time and a state; called once for each stage but
            the first.
        time: at the beginning of the step [optimizer steps].
        state: tensors of any shape.
        begin: their rates at the beginning.
        step: length of the step [optimizer steps].
        stages: two or more (see `stages_for`).
    """
    method = scheme(stages)
    # The recurrence runs on the changes of the state. On the states themselves it would round at every stage.
    last = tuple((method.mu_slope[1] * step) * rate for rate in begin)
    before = tuple(map(torch.zeros_like, last))
    for j in range(2, stages + 1):
        slope = velocity(time + method.times[j - 1] * step, moved(state, last))
        scales = method.mu[j], method.mu_slope[j] * step, method.first_slope[j] * step
        for part, *terms in zip(before, last, slope, begin, strict=True):
            part.mul_(method.nu[j])
            for term, scale in zip(terms, scales, strict=True):
                part.add_(term, alpha=scale)
        before, last = last, before
    return last


def moved(state: State, by: State) -> State:
    """Return a state plus a change."""
    return tuple(part + more for part, more in zip(state, by, strict=True))


FAST = 20
"""Number of directions that may be as stiff as the stiffest."""


def rounding(w: Tensor, norm: float, stiffness: float) -> float:
    """Return the length of the move that rounding of the weights causes; a flow at its minimum has no other.

    Args:
        w: the weights `[p]`.
        norm: their norm.
        stiffness: product of the step and the rate of the stiffest direction.
    """
    # Each weight is rounded independently, so the few fast directions get their share of the total and no more.
    fast = min(1.0, FAST / len(w)) ** 0.5
    return 4 * torch.finfo(w.dtype).eps * norm * (1 + fast * stiffness)


def step_error(move: Tensor, begin: Tensor, end: Tensor, step: float, rounding: float = 0.0) -> float:
    """Return the error of a step relative to the length of its move.

    The error is the defect of the trapezoidal rule, which has the same order.

    Args:
        move: change of the vector in the step.
        begin, end: rates before and after the step.
        step: its length [optimizer steps].
        rounding: largest defect that counts as rounding, in the units of `move`; the error is then 0.
    """
    defect = torch.add(begin, end).mul_(step / 2).sub_(move)
    error, length = torch.stack([torch.linalg.vector_norm(x) for x in (defect, move)]).tolist()
    return error / length if error > rounding else 0.0
