"""Evaluation of a network in float64 throughout, also where it asks for less."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

LOWER = (torch.float32, torch.float16, torch.bfloat16)
CASTS = {"float", "half", "bfloat16"}  # methods of tensors


class Float64(TorchFunctionMode):
    """A mode in which all floating tensors and all requested lower precisions are float64.

    Networks cast to float32 inside of norms and heads, or hold constants that moving a module does not reach. Objectives
    in float64 are evaluated in this mode, so that they can be differenced.
    """

    def __enter__(self):
        self._default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch.set_default_dtype(self._default)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", "")
        if name in ("__get__", "__set__"):
            return function(*args, **(kwargs or {}))
        if name in CASTS and len(args) == 1:
            return args[0].double()
        args = tuple(_widened(each) for each in args)
        return function(*args, **{key: _widened(each) for key, each in (kwargs or {}).items()})


def _widened(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.double() if value.dtype in LOWER else value
    if isinstance(value, torch.dtype):
        return torch.float64 if value in LOWER else value
    if type(value) in (tuple, list):
        return type(value)(_widened(each) for each in value)
    return value
