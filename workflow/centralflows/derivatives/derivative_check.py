"""The derivative check, which tests the derivatives from automatic differentiation.

Wrong third derivatives raise no error. Some fused layers return them, and a central flow would silently go wrong. The
check therefore compares derivatives with differences of lower ones before every experiment, in float64 on a few
examples, at one point and along one direction. It rejects a network that fails, and names the types of layers that fail
alone, if any do.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..common.errors import UserError
from ..problems.networks.activations import ReLU
from ..problems.objective import Objective
from .point import Point

EXAMPLES = 8
STEP = 1e-2  # step of the differences, relative to the size of the weights
TOLERANCE = 1e-3  # truncation is of order STEP^4; the layers known to be wrong err by 5e-2 and more


class WrongDerivatives(UserError, ArithmeticError):
    """Automatic differentiation disagrees with differences, or the network is not a function of its weights."""


def check_derivatives(objective: Objective, w: Tensor) -> dict[str, float]:
    """Return the relative errors of gradient, Hessian-vector product and third derivative near `w`.

    Raises:
        WrongDerivatives: an error exceeds `TOLERANCE`; the message names the layer types that fail on their own.
        NotSeparable: the objective is evaluated in microbatches, but is not the sum over them.
    """
    small = objective.head(EXAMPLES).to("cpu", torch.float64)
    for module in small.network.modules():
        if isinstance(module, ReLU):
            module.smooth = True
    w = w.to("cpu", torch.float64)
    # Weights that start at zero hide whole parts of the network, so the check is made at a distance from them.
    w = w + 0.1 * _direction(w, seed=1)
    with torch.no_grad():
        if not torch.equal(small(w), small(w)):
            raise WrongDerivatives(
                "two evaluations of the loss at the same weights differ: the network is not deterministic; with dropout, "
                "call its eval()"
            )
        if not objective.adapts:
            small.check_microbatches(w)
    found = derivative_errors(small, w)
    if max(found.values()) <= TOLERANCE:
        return found
    listed = ", ".join(f"{name} {error:.1e}" for name, error in found.items())
    blamed = sorted(_wrong_layers(small, w))
    blame = f"layers that fail alone: {', '.join(blamed)}" if blamed else "no single layer type fails alone"
    raise WrongDerivatives(
        f"derivatives of this network are wrong (relative errors: {listed}; at most {TOLERANCE:g}): {blame}. "
        "Use smooth activations (GELU, SiLU, tanh), nn.GroupNorm, and LayerNorm and RMSNorm of "
        "centralflows.problems.networks.norms."
    )


def derivative_errors(function: Callable[[Tensor], Tensor], x: Tensor) -> dict[str, float]:
    """Return the relative errors of a scalar function's first three derivatives at a float64 vector, in one
    direction."""
    u = _direction(x, seed=2)
    offsets = torch.tensor([-2, -1, 0, 1, 2], dtype=x.dtype)
    shifted = [Point(function, x + STEP * offset * u) for offset in offsets.tolist()]
    losses = torch.stack([point.loss for point in shifted])
    gradients = torch.stack([point.gradient for point in shifted])
    first = torch.tensor([1, -8, 0, 8, -1], dtype=x.dtype) / (12 * STEP)
    second = torch.tensor([-1, 16, -30, 16, -1], dtype=x.dtype) / (12 * STEP**2)

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
    u = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
    return u * (x.norm() if x.norm() > 0 else 1.0) / u.norm()


def _relative(value: Tensor, reference: Tensor, floor: Tensor) -> float:
    error = ((value - reference).norm() / torch.maximum(reference.norm(), floor.norm()).clamp_min(1e-300)).item()
    return error if error == error else float("inf")


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
            with sdpa_kernel(SDPBackend.MATH):
                y = module(flat.view(shape))
            y = y[0] if isinstance(y, tuple) else y
            return (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)).square().sum()

        if max(derivative_errors(alone, x.reshape(-1)).values()) > TOLERANCE:
            wrong.add(kind.__name__)
    return wrong
