"""Copies of networks that the objective evaluates: unwrapped, and refused where derivatives could not be right."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin

from ..common.errors import UserError
from .trees import moved


class UnusableNetwork(UserError, ValueError):
    """A network whose weights or form the library cannot work with."""


def copied(network: nn.Module, *, training: bool | None = None) -> nn.Module:
    """Return a copy of a network without the wrappers that only change how it runs.

    These are `torch.compile`, `DataParallel` and `DistributedDataParallel`. Weights that a hook computes (weight norm of
    old style, pruning) are computed in the copy as well.

    Args:
        training: whether the copy is in training mode; None keeps the mode.

    Raises:
        TypeError: this is no network.
        UnusableNetwork: it is scripted, its parameters are not initialised, or they have no trainable parameter of a
            dtype that the library supports.
    """
    if not isinstance(network, nn.Module):
        raise TypeError(
            f"the network must be a torch.nn.Module (got {type(network).__name__}); for a function of the weights use "
            "Objective.from_function"
        )
    network = _unwrapped(network)
    for name, module in network.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise UnusableNetwork(
                f"{name or 'the network'} is scripted or traced, and its functions cannot be replaced by ones with right "
                "derivatives; give the module that it was made from"
            )
    for name, value in network.named_parameters():
        if isinstance(value, UninitializedTensorMixin):
            raise UnusableNetwork(f"{name} is not initialised yet: call the network once on the inputs before")
    made = copy.deepcopy(network, _computed(network))
    for module in made.modules():
        module._compiled_call_impl = None  # set by `Module.compile`
        for name, child in module.named_children():
            setattr(module, name, _unwrapped(child))
    if training is not None:
        made.train(training)
    _check_weights(made)
    return made


def _unwrapped(network: nn.Module) -> nn.Module:
    """Return the network inside of wrappers that only change how it runs."""
    parallel = nn.DataParallel, nn.parallel.DistributedDataParallel
    while True:
        if isinstance(network, parallel):
            network = network.module
        elif isinstance(getattr(network, "_orig_mod", None), nn.Module):
            network = network._orig_mod
        else:
            return network


def _computed(network: nn.Module) -> dict[int, Any]:
    """Return, as a memo of `deepcopy`, copies of the tensors that hooks compute, which torch refuses to copy."""
    held = [value for module in network.modules() for value in vars(module).values() if isinstance(value, Tensor)]
    return {id(value): value.detach().clone() for value in held if not value.is_leaf}


def _check_weights(network: nn.Module) -> None:
    trainable = {name: value for name, value in network.named_parameters() if value.requires_grad}
    if not trainable:
        raise UnusableNetwork("the network has no trainable parameter")
    kinds: dict[tuple, str] = {}
    for name, value in trainable.items():
        kinds.setdefault((value.dtype, value.device), name)
    if len(kinds) > 1:
        listed = ", ".join(f"{name} is {dtype_name(dtype)} on {device}" for (dtype, device), name in kinds.items())
        raise UnusableNetwork(f"all trainable parameters must share one dtype and device: {listed}")
    (dtype, device), name = next(iter(kinds.items()))
    if dtype.is_complex:
        raise UnusableNetwork(
            f"the network must be float32 or float64 ({name} is {dtype_name(dtype)}): a Hessian of complex weights is not that "
            "of a real function; store real and imaginary parts as two parameters"
        )
    if dtype not in (torch.float32, torch.float64):
        raise UnusableNetwork(
            f"the network must be float32 or float64 ({name} is {dtype_name(dtype)}): lower precision has no usable second and "
            "third derivatives; call network.float()"
        )
    if device.type == "meta":
        raise UnusableNetwork(
            f"{name} is on the device 'meta' and has no values; call network.to_empty and initialise it"
        )


def dtype_name(dtype: torch.dtype) -> str:
    """Return the short name of a dtype, for example float32."""
    return str(dtype).removeprefix("torch.")


def converted(network: nn.Module, device: torch.device | str | None, dtype: torch.dtype | None) -> nn.Module:
    """Return a copy of a module on a device and in a dtype, with the tensors that it holds outside of its buffers."""
    made = copied(network) if any(value.requires_grad for value in network.parameters()) else copy.deepcopy(network)
    made = made.to(device=device, dtype=dtype)  # `Module.to` works in place
    for module in made.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor):
                vars(module)[name] = moved(value, device, dtype)
    return made
