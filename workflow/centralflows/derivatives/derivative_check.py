"""The derivative check, which tests the derivatives from automatic differentiation.

Wrong third derivatives raise no error. Some fused layers return them, and a central flow would silently go wrong. The
check therefore compares derivatives with differences of lower ones before every experiment, in float64, near the
initial weights and along several directions. It tells three cases apart by the errors at shorter and shorter steps:

- right: the errors fall like the fourth power of the step, until they are below the tolerance;
- wrong: they stay. The network is refused, with the layers that fail alone;
- not smooth: they do neither, or the network applies a function with known kinks. Derivatives are then what automatic
  differentiation defines, and the user is warned of what that means for a flow.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from ..common.errors import OutOfMemory, UserError
from ..problems.memory import ran_out_of_memory
from ..problems.objective import Objective
from ..problems.substitution import Substitution
from .point import Function, Point
from .smoothness import Seen, seen, smoothed

Check = Literal["off", "warn", "refuse"]

EXAMPLES = 8
DIRECTIONS = 3
STEPS = tuple(1e-2 / 4**k for k in range(5))  # of the differences, relative to the size of the weights
TOLERANCE = 1e-3  # truncation is of order step^4; the layers known to be wrong err by 5e-2 and more
FALL = 20  # a truncation error falls 256-fold from one step to the next, at least by this once the step is short enough
PRECISION = 3e-2  # largest difference of a run's own gradients and products from those in float64


class WrongDerivatives(UserError, ArithmeticError):
    """Automatic differentiation disagrees with differences, or the network is not a function of its weights."""


class NotSmooth(UserError, ArithmeticError):
    """The loss has kinks or jumps, and they were to be refused."""


class NotSmoothWarning(UserWarning):
    """The loss has kinks or jumps."""


def check_derivatives(objective: Objective, w: Tensor, check: Check = "warn") -> dict[str, float]:
    """Return the largest relative errors of gradient, Hessian-vector product and third derivative near `w`.

    Args:
        check: "refuse" refuses a loss that is not smooth, "warn" only warns of it; "off" checks nothing.

    Raises:
        WrongDerivatives: an error stays above `TOLERANCE`; the message names the layer types that fail on their own.
        NotSmooth: the loss is not smooth, and `check` is "refuse".
        NotSeparable: the objective is evaluated in microbatches, but is not the sum over them.
    """
    if check not in ("off", "warn", "refuse"):
        raise ValueError(f"check must be 'off', 'warn' or 'refuse' (got {check!r})")
    if check == "off":
        return {}
    if not objective.adapts or len(objective.batches) > 1:
        objective.check_microbatches(objective.initial_weights)
    own = objective.head(EXAMPLES)
    try:
        return _checked(own, w, check)
    except RuntimeError as error:
        if isinstance(error, UserError) or not ran_out_of_memory(error):
            raise
        raise OutOfMemory(
            f"the derivative check does not fit into memory with {own.n or 'all'} examples, into which the loss cannot be "
            "divided further; run(check='off') skips it"
        ) from error


def _checked(own: Objective, w: Tensor, check: Check) -> dict[str, float]:
    wide = own.to(dtype=torch.float64)
    # Weights that start at zero hide whole parts of the network, so the check is made at a distance from them.
    w = w.double()
    w = w + 0.1 * _direction(w, seed=1)
    with torch.no_grad():
        if not torch.equal(wide(w), wide(w)):
            raise WrongDerivatives(
                "two evaluations of the loss at the same weights differ: the network is not deterministic; with dropout, "
                "call its eval(), or give Objective(..., training=False)"
            )
    found = seen(own, w.to(own.initial_weights))
    if found.lower:
        raise WrongDerivatives(
            f"parts of the network compute in less than float32, where second and third derivatives are lost: "
            f"{', '.join(found.lower[:3])}; switch autocast off, or give Experiment(..., dtype=torch.float64)"
        )
    tested = smoothed(wide) if found.kinks else wide
    try:
        errors, verdict = _verdict(tested, w)
        _check_own_precision(own, wide, w)
    except RuntimeError as error:
        if isinstance(error, UserError) or ran_out_of_memory(error):
            raise
        raise WrongDerivatives(_missing(error, found, _wrong_layers(tested, w))) from error
    if verdict == "wrong":
        listed = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
        blamed = sorted(_wrong_layers(tested, w))
        blame = f"layers that fail alone: {', '.join(blamed)}" if blamed else "no single layer type fails alone"
        raise WrongDerivatives(
            f"derivatives of this network are wrong (relative errors: {listed}; at most {TOLERANCE:g}): {blame}. "
            "Write what it does in elementary operations of torch; docs/networks.md lists what is replaced by itself."
        )
    if verdict == "not smooth" or found.kinks:
        _tell(found, check)
    return errors


def _tell(found: Seen, check: Check) -> None:
    """Warn that the loss is not smooth, or refuse it."""
    where = f"it applies {', '.join(found.kinks[:4])}" if found.kinks else "its derivatives jump near these weights"
    more = f" and {len(found.kinks) - 4} more" if len(found.kinks) > 4 else ""
    message = (
        f"the loss is not smooth: {where}{more}. Discrete runs, midpoints and eigenvalues are what they are, but second "
        "and third derivatives do not see the curvature in kinks, so flows are less accurate or do not hold "
        "(docs/networks.md). Smooth functions are GELU, SiLU, tanh, average pooling; check='refuse' refuses, check='off' "
        "is silent"
    )
    if check == "refuse":
        raise NotSmooth(message)
    warnings.warn(message, NotSmoothWarning, stacklevel=4)


def _verdict(function: Function, w: Tensor) -> tuple[dict[str, float], str]:
    """Return the smallest errors along the worst direction, and whether they are right, wrong or not smooth."""
    worst: dict[str, float] = {}
    verdicts = set()
    for seed in range(2, 2 + DIRECTIONS):
        u = _direction(w, seed=seed)
        history: list[dict[str, float]] = []
        for step in STEPS:
            history.append(derivative_errors(function, w, u, step=step))
            if max(history[-1].values()) <= TOLERANCE:
                break
        best = {name: min(each[name] for each in history) for name in history[0]}
        worst = {name: max(error, worst.get(name, 0.0)) for name, error in best.items()}
        verdicts.update(_kind([each[name] for each in history]) for name in best)
    return worst, next(each for each in ("wrong", "not smooth", "right") if each in verdicts)


def _kind(errors: list[float]) -> str:
    """Return what the errors of one derivative at shorter and shorter steps say of it."""
    if errors[0] <= TOLERANCE:
        return "right"
    lowest = min(errors)
    if lowest > TOLERANCE:
        # Wrong derivatives err by the same at every step; at kinks, differences grow without bound.
        return "wrong" if max(errors[-3:]) < 3 * lowest else "not smooth"
    falls = [a / max(b, 1e-300) for a, b in pairwise(errors) if a > TOLERANCE]
    return "right" if all(fall >= FALL for fall in falls[-2:]) else "not smooth"


def derivative_errors(
    function: Callable[[Tensor], Tensor], x: Tensor, u: Tensor | None = None, *, step: float = STEPS[0]
) -> dict[str, float]:
    """Return the relative errors of a scalar function's first three derivatives at a float64 vector, in one
    direction."""
    u = _direction(x, seed=2) if u is None else u
    offsets = torch.tensor([-2, -1, 0, 1, 2], dtype=x.dtype)
    shifted = [Point(function, x + step * offset * u) for offset in offsets.tolist()]
    losses = torch.stack([point.loss for point in shifted])
    gradients = torch.stack([point.gradient for point in shifted])
    first = torch.tensor([1, -8, 0, 8, -1], dtype=x.dtype, device=x.device) / (12 * step)
    second = torch.tensor([-1, 16, -30, 16, -1], dtype=x.dtype, device=x.device) / (12 * step**2)

    here, column = shifted[2], u[:, None]
    products = here.product_graphs(column)
    curvature_gradient = here.curvature_gradients(column, products)[:, 0]
    # The error of a zero or tiny derivative is relative to the derivative of the next lower order.
    return {
        "gradient": _relative(here.gradient @ u, first @ losses, losses[2]),
        "Hessian product": _relative(products[0].detach(), first @ gradients, 1e-3 * gradients[2]),
        "third derivative": _relative(
            curvature_gradient, second @ gradients, torch.cat([1e-3 * (first @ gradients), 1e-6 * gradients[2]])
        ),
    }


def _direction(x: Tensor, *, seed: int) -> Tensor:
    """Return a random direction as long as x (of length 1 if x is zero)."""
    u = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype).to(x.device)
    return u * (x.norm() if x.norm() > 0 else 1.0) / u.norm()


def _relative(value: Tensor, reference: Tensor, floor: Tensor) -> float:
    error = ((value - reference).norm() / torch.maximum(reference.norm(), floor.norm()).clamp_min(1e-300)).item()
    return error if error == error else float("inf")


def _check_own_precision(own: Objective, wide: Objective, w: Tensor) -> None:
    """Compare gradient and Hessian products in a run's own precision, and in its batches, with those in float64.

    Raises:
        WrongDerivatives: they differ by more than `PRECISION`.
    """
    u = torch.stack([_direction(w, seed=2), _direction(w, seed=3)]).T
    exact, used = Point(wide, w, batched=False), Point(own, w.to(own.initial_weights))
    try:
        products = used.hessian_product(u.to(used.w))
    except RuntimeError as error:
        if not used.batched:
            raise
        raise WrongDerivatives(
            f"torch cannot take this network's derivatives along several vectors at once ({str(error).splitlines()[0]}); "
            "give Objective(..., batched=False)"
        ) from error
    expected = exact.hessian_product(u)
    for name, value, reference, floor in (
        ("gradients", used.gradient, exact.gradient, exact.loss / w.norm().clamp_min(1e-300)),
        ("Hessian products", products, expected, exact.gradient),
    ):
        error = _relative(value.double(), reference, 1e-2 * floor)
        if error > PRECISION:
            kind = str(used.w.dtype).removeprefix("torch.")
            raise WrongDerivatives(
                f"{name} in {kind} differ from those in float64 by {error:.0%}: the network computes in lower precision "
                "somewhere, or is too badly conditioned; give Experiment(..., dtype=torch.float64)"
            )


def _missing(error: Exception, found: Seen, blamed: set[str]) -> str:
    """Return which function has no derivative of higher order, and where it is called."""
    text = next(iter(str(error).splitlines()), "")
    named = re.search(r"derivative for '?(?:aten::)?_?([A-Za-z0-9_]+?)(?:_backward)?'? is not implemented", text)
    cure = "write it in elementary operations of torch, or use another (docs/networks.md)"
    if named:
        name = named[1]
        layers = [layer for called, layer in found.layers.items() if called.strip("_").startswith(name)]
        return f"torch has no second derivative of {name}{f', which {layers[0]} calls' if layers else ''}: {cure}"
    where = ", ".join(sorted(blamed)) or "this network"
    return f"torch cannot differentiate {where} three times ({type(error).__name__}: {text}): {cure}"


def _wrong_layers(objective: Objective, w: Tensor) -> set[str]:
    """Return the types of leaf modules with wrong derivatives in their input, each tested on its own input."""
    tried: dict[type, tuple[nn.Module, Tensor]] = {}

    def remember(module: nn.Module, args: tuple) -> None:
        if len(args) == 1 and isinstance(args[0], Tensor) and args[0].is_floating_point():
            tried.setdefault(type(module), (module, args[0].detach().clone()))

    leaves = [module for module in objective.network.modules() if not list(module.children())]
    hooks = [module.register_forward_pre_hook(remember) for module in leaves]
    try:
        with torch.no_grad():
            objective(w)
    finally:
        for hook in hooks:
            hook.remove()
    wrong = set()
    for kind, (module, x) in tried.items():

        def alone(flat: Tensor, module: nn.Module = module, shape: torch.Size = x.shape) -> Tensor:
            with Substitution():
                y = module(flat.view(shape).clone())  # a copy, as the layer may work in place
            y = y[0] if isinstance(y, tuple) else y
            return (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype, device=y.device).view(y.shape)).square().sum()

        try:
            failed = _verdict(alone, x.reshape(-1))[1] == "wrong"
        except RuntimeError:
            failed = True
        if failed:
            wrong.add(kind.__name__)
    return wrong
