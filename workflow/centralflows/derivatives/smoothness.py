"""Functions with kinks and jumps that a network or a criterion applies to what depends on the weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ..problems.objective import Objective

KINKED = {
    "relu", "leaky_relu", "_prelu_kernel", "rrelu_with_noise", "hardtanh", "hardswish", "hardsigmoid", "hardshrink",
    "softshrink", "threshold", "elu", "selu", "celu", "max_pool2d_with_indices", "max_pool3d_with_indices",
    "adaptive_max_pool2d", "adaptive_max_pool3d", "fractional_max_pool2d", "fractional_max_pool3d", "huber_loss",
    "smooth_l1_loss",
    "multi_margin_loss", "multilabel_margin_loss", "multilabel_margin_loss_forward", "grid_sampler_2d", "grid_sampler_3d",
}  # fmt: skip
"""Functions of torch whose first or second derivative jumps."""
SIDED = {"abs", "clamp", "clamp_min", "clamp_max", "maximum", "minimum", "gt", "ge", "lt", "le"}
"""Functions with a kink that matters only where arguments lie on both sides of it; others are guards, as in norms."""
JUMPING = {"topk", "sort", "argmax", "argmin", "argsort", "round", "floor", "ceil", "trunc", "sign", "sgn", "bucketize",
           "searchsorted", "heaviside", "multinomial"}  # fmt: skip
"""Functions whose value, or whose choice, jumps."""
LOWER = (torch.float16, torch.bfloat16)


class Seen(NamedTuple):
    """The kinks, the lower precisions and the layers found in one evaluation of a loss.

    Attributes:
        kinks: kinked and jumping functions, each with the layer that calls it.
        lower: layers that compute in less than float32, with the precision.
        layers: the first layer that calls a function of torch, by the function's name.
    """

    kinks: list[str]
    lower: list[str]
    layers: dict[str, str]


def seen(objective: Objective, w: Tensor) -> Seen:
    """Return what network and criterion apply at weights `w`."""
    watch = _Watch()
    hooks = []
    for name, module in objective.network.named_modules():
        label = f"{type(module).__name__} {name!r}" if name else type(module).__name__
        hooks.append(module.register_forward_pre_hook(lambda *_, label=label: watch.calling.append(label)))
        hooks.append(module.register_forward_hook(lambda *_: watch.calling.pop() and None, always_call=True))
    try:
        with torch.enable_grad(), watch:
            objective(w.detach().requires_grad_())
    finally:
        for hook in hooks:
            hook.remove()
    # Some functions are replaced by compositions, in which their names no longer appear.
    replaced = [name for name in objective.replaced if name in KINKED]
    return Seen([*watch.kinks, *replaced], list(watch.lower), watch.layers)


class _Watch(TorchDispatchMode):
    """Notes the functions that are called, at the level at which all spellings of one are the same."""

    def __init__(self):
        super().__init__()
        self.calling: list[str] = []
        self.kinks: dict[str, None] = {}  # in order
        self.lower: dict[str, None] = {}
        self.layers: dict[str, str] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # for a skip, torch loads its compiler, which takes a second

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.name().removeprefix("aten::").split(".")[0].rstrip("_")
        layer = self.calling[-1] if self.calling else "the criterion"
        self.layers.setdefault(name, layer)
        given = [x for x in args if isinstance(x, Tensor)]
        depends = any(x.requires_grad for x in given)
        if depends and (
            name in KINKED or name in JUMPING or (name in SIDED and _on_both_sides(name, args, kwargs or {}))
        ):
            self.kinks.setdefault(f"{name} in {layer}")
        found = function(*args, **(kwargs or {}))
        if depends and isinstance(found, Tensor) and found.dtype in LOWER:
            self.lower.setdefault(f"{layer} in {str(found.dtype).removeprefix('torch.')}")
        return found


def _on_both_sides(name: str, args: tuple, kwargs: dict[str, Any]) -> bool:
    """Return whether arguments of a function lie on both sides of its kink."""
    x = args[0]
    if name == "abs":
        beyond = x < 0
    elif name in ("maximum", "minimum", "gt", "ge", "lt", "le"):
        beyond = x < args[1]
    else:
        bounds = [*args[1:], *kwargs.values()]
        if name != "clamp_max" and bounds[:1] == [0]:
            return True  # ReLU by another name
        low, high = {
            "clamp": (*bounds, None, None)[:2],
            "clamp_min": (bounds[0], None),
            "clamp_max": (None, bounds[0]),
        }[name]
        beyond = torch.zeros_like(x, dtype=torch.bool)
        beyond = beyond if low is None else beyond | (x < low)
        beyond = beyond if high is None else beyond | (x > high)
    return bool(beyond.any()) and not bool(beyond.all())


def _pooled(dims: int) -> Callable:
    average = getattr(functional, f"avg_pool{dims}d")

    def pooled(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        if dilation not in (1, (1,) * dims, [1] * dims) or return_indices:
            return NotImplemented
        return average(x, kernel_size, stride or kernel_size, padding, ceil_mode)

    return pooled


def _prelu(x: Tensor, weight: Tensor) -> Tensor:
    slope = weight.view(-1, *[1] * (x.ndim - 2)) if weight.numel() > 1 and x.ndim > 1 else weight
    return slope * x + (1 - slope) * functional.gelu(x)


SMOOTHED: dict[str, Callable] = {
    "relu": lambda x, inplace=False: functional.gelu(x),
    "relu6": lambda x, inplace=False: 6 * torch.sigmoid(x - 3),
    "leaky_relu": lambda x, slope=0.01, inplace=False, **_: slope * x + (1 - slope) * functional.gelu(x),
    "prelu": _prelu,
    "hardtanh": lambda x, *_, **__: torch.tanh(x),
    "hardswish": lambda x, inplace=False: functional.silu(x),
    "hardsigmoid": lambda x, inplace=False: torch.sigmoid(x),
    "hardshrink": lambda x, *_, **__: functional.gelu(x),
    "softshrink": lambda x, *_, **__: functional.gelu(x),
    "threshold": lambda x, *_, **__: functional.gelu(x),
    "elu": lambda x, *_, **__: functional.softplus(x),
    "selu": lambda x, *_, **__: functional.softplus(x),
    "celu": lambda x, *_, **__: functional.softplus(x),
    "softsign": lambda x: torch.tanh(x),
    "abs": lambda x: (x * x + 1).sqrt(),
    "max_pool1d": _pooled(1),
    "max_pool2d": _pooled(2),
    "max_pool3d": _pooled(3),
    "adaptive_max_pool1d": lambda x, size, *_, **__: functional.adaptive_avg_pool1d(x, size),
    "adaptive_max_pool2d": lambda x, size, *_, **__: functional.adaptive_avg_pool2d(x, size),
    "adaptive_max_pool3d": lambda x, size, *_, **__: functional.adaptive_avg_pool3d(x, size),
    "l1_loss": lambda x, y, *_, **__: functional.mse_loss(x, y),
    "smooth_l1_loss": lambda x, y, *_, **__: functional.mse_loss(x, y),
    "huber_loss": lambda x, y, *_, **__: functional.mse_loss(x, y),
    "maximum": torch.logaddexp,
    "minimum": lambda x, y: -torch.logaddexp(-x, -y),
}
"""Smooth functions of the same shape, in whose place the derivatives of the rest of a network can be differenced."""


class Smoothed(TorchFunctionMode):
    """A mode in which kinked functions are smooth ones."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(function, "__name__", "").lstrip("_"), kwargs or {}
        smooth = SMOOTHED.get(name.rstrip("_").removesuffix("_with_indices").removesuffix("absolute"))
        if smooth is None or not args or not isinstance(args[0], Tensor) or not args[0].is_floating_point():
            return function(*args, **kwargs)
        in_place = kwargs.get("inplace") or (name.endswith("_") and not name.endswith("__"))
        found = smooth(args[0].clone() if in_place else args[0], *args[1:], **kwargs)
        if found is NotImplemented:
            return function(*args, **kwargs)
        return args[0].copy_(found) if in_place else found


def smoothed(objective: Objective) -> Objective:
    """Return the objective with smooth functions in the place of kinked ones."""
    return objective.under(Smoothed)
