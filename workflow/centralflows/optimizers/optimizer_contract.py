"""Numerical checks of the properties that the flows require of an optimizer.

They are made before every experiment, and by the tests for each optimizer. If an optimizer's drift did not match its
update, its central flow would silently describe nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..common.errors import UserError
from ..derivatives.svec import svec
from ..store.trajectory import VARIABLES
from .optimizer import Optimizer, State

P, STEP = 7, 1e-4
RATE_STEP = 1e-2  # large enough for a schedule that computes in float32
RESERVED = {*VARIABLES, "weights", "step", "saved_step", "mode", "coordinate", "parameter"}


class BrokenContract(UserError, ArithmeticError):
    """An optimizer contradicts itself; the message lists how."""


def check(optimizer: Optimizer, *, steps: int = 12) -> None:
    """Check an optimizer on a short run of random gradients in float64.

    Raises:
        BrokenContract: the optimizer fails requirements; the message lists each of them.
    """
    w = _vector(0, P)
    state = optimizer.initial_state(w)
    broken = []
    if len(state) != len(optimizer.state_names):
        broken.append(f"state_names has {len(optimizer.state_names)} names for {len(state)} parts")
    if taken := sorted(RESERVED & set(optimizer.state_names)):
        broken.append(f"state_names may not be those of what is recorded anyway: {', '.join(taken)}")
    if any(part.ndim != 1 for part in state):
        broken.append(f"each part of the state must be a vector (found shapes {[list(part.shape) for part in state]})")
        raise _refusal(optimizer, broken)
    for t in range(1, steps):
        state = optimizer.update(_step(t), state, _vector(t, P))
    gradient = _vector(steps, P)
    following = optimizer.update(_step(steps), state, gradient)
    broken += _preconditioner(optimizer, _step(steps), following)
    if optimizer.isotropic:
        broken += _isotropy(optimizer, _step(steps), state, following, gradient)
    broken += _preconditioner_rate(optimizer, _step(steps + 0.4), following)  # a schedule may jump at whole steps
    if state:
        broken += _drift(optimizer, _step(steps), state, following, gradient)
        broken += _drift_curvature(optimizer, _step(steps), following, gradient)
    if broken:
        raise _refusal(optimizer, broken)


def _refusal(optimizer: Optimizer, broken: list[str]) -> BrokenContract:
    listed = "\n  ".join(broken)
    return BrokenContract(f"{type(optimizer).__name__} cannot be used by the flows:\n  {listed}")


def _preconditioner(optimizer: Optimizer, step: Tensor, state: State) -> list[str]:
    preconditioner = optimizer.preconditioner(step, state)
    if preconditioner.shape not in ((1,), (P,)):
        return [f"preconditioner has shape {list(preconditioner.shape)}; it must be [1] or [p]"]
    if not (preconditioner > 0).all():
        return ["preconditioner is not positive"]
    return []


def _isotropy(optimizer: Optimizer, step: Tensor, state: State, following: State, gradient: Tensor) -> list[str]:
    """Return a complaint unless a gradient of equal length in another direction and dimension has the same effect."""
    if len(optimizer.preconditioner(step, following)) != 1 or any(len(part) != 1 for part in following):
        return ["isotropic, but its preconditioner or its state is not one number"]
    turned = _vector(104, P + 2)
    turned *= gradient.norm() / turned.norm()
    other = (*optimizer.update(step, state, turned), *optimizer.drift(step, following, turned))
    own = (*following, *optimizer.drift(step, following, gradient))
    if not all(torch.allclose(a, b, rtol=1e-9) for a, b in zip(own, other, strict=True)):
        return ["isotropic, but its state depends on more of a gradient than its length"]
    return []


def _drift(optimizer: Optimizer, step: Tensor, state: State, following: State, gradient: Tensor) -> list[str]:
    """Return a complaint unless the drift after a step equals the change in that step, to first order in its size.

    This also tests the sign and scale of the drift.
    """
    drift = optimizer.drift(step, following, gradient)
    if [part.shape for part in drift] != [part.shape for part in state]:
        return ["drift has not the shapes of the state"]
    moved = torch.cat([new - old for old, new in zip(state, following, strict=True)])
    difference = torch.cat(list(drift)) - moved
    if difference.norm() > 0.5 * moved.norm():
        return [
            f"drift is not the limit of update: they differ by {difference.norm() / moved.norm():.0%} in a step "
            "(the drift at the state after a step should be about what the step added)"
        ]
    return []


def _drift_curvature(optimizer: Optimizer, step: Tensor, state: State, gradient: Tensor) -> list[str]:
    products, root = _vector(101, P, 2), _vector(102, 2, 2)
    x = torch.from_numpy(svec((root @ root.T).numpy()))
    plain = optimizer.drift(step, state, gradient)
    means = [torch.zeros_like(part) for part in state]
    for column in (products @ root).T:
        for sign in (STEP, -STEP):
            moved = optimizer.drift(step, state, gradient + sign * column)
            for mean, new, old in zip(means, moved, plain, strict=True):
                mean += (new - old) / (2 * STEP**2)
    added = [part @ x for part in optimizer.drift_curvature(step, state, gradient, products)]
    if not _close(added, means):
        return ["drift_curvature is not half the second derivative of drift in the gradient"]
    return []


def _preconditioner_rate(optimizer: Optimizer, step: Tensor, state: State) -> list[str]:
    if not torch.isfinite(optimizer.preconditioner(step, state)).all():
        return []  # a learning rate that has reached zero
    rates = tuple(part * _vector(103, *part.shape) for part in state)

    def moved(s: float) -> Tensor:
        shifted = tuple(part + s * rate for part, rate in zip(state, rates, strict=True))
        return optimizer.preconditioner(step + s, shifted)

    difference = (moved(RATE_STEP) - moved(-RATE_STEP)) / (2 * RATE_STEP)
    try:
        agree = _close([optimizer.preconditioner_rate(step, state, 1.0, rates)], [difference])
    except RuntimeError:  # torch raises it for a schedule that computes outside torch
        agree = False
    if not agree:
        return [
            "preconditioner_rate is not the derivative of preconditioner (a learning rate must be a function of the step "
            "counter in operations of torch, without float() or math)"
        ]
    return []


def _close(found: list[Tensor], expected: list[Tensor]) -> bool:
    """Return whether two results agree up to the errors of differences.

    Differences with step STEP err by STEP^2 times a third derivative, and by rounding over STEP^2.
    """
    return all((a - b).norm() <= 1e-3 * (b.norm() + a.norm()) + 1e-7 for a, b in zip(found, expected, strict=True))


def _vector(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _step(t: float | int) -> Tensor:
    return torch.tensor(float(t), dtype=torch.float64)
