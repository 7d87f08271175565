"""Nested data: tensors in tuples, lists, mappings and dataclasses, as networks take and return them."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from numpy import ndarray
from torch import Tensor

from ..common.errors import UserError


class NoTensor(UserError, TypeError):
    """Outputs of a network in which no single tensor is the prediction."""


def mapped(function: Callable[[Tensor], Any], data: Any) -> Any:
    """Return the same nesting with a function applied to each tensor; arrays count as tensors, other leaves stay."""
    if isinstance(data, ndarray):
        data = torch.from_numpy(data)
    if isinstance(data, Tensor):
        return function(data)
    if isinstance(data, Mapping):
        found = copy.copy(data)  # keeps the type, for example one with attributes for its keys
        for key, value in data.items():
            found[key] = mapped(function, value)
        return found
    if isinstance(data, tuple | list):
        parts = [mapped(function, part) for part in data]
        return type(data)(*parts) if hasattr(data, "_fields") else type(data)(parts)
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        parts = {field.name: getattr(data, field.name) for field in dataclasses.fields(data) if field.init}
        return dataclasses.replace(data, **{name: mapped(function, part) for name, part in parts.items()})
    return data


def tensors(data: Any) -> list[Tensor]:
    """Return all tensors of nested data, in order."""
    found: list[Tensor] = []
    mapped(lambda x: found.append(x) or x, data)
    return found


def moved(data: Any, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Any:
    """Return nested data on another device or with another floating dtype; integers keep theirs."""
    return mapped(lambda x: x.to(device=device, dtype=dtype if x.is_floating_point() else None), data)


def examples_of(*data: Any) -> int | None:
    """Return the number of examples: the length that all tensors share, or None if they share none."""
    lengths = {len(x) for each in data for x in tensors(each) if x.ndim}
    return lengths.pop() if len(lengths) == 1 else None


def part_of(data: Any, start: int, stop: int) -> Any:
    """Return the examples from `start` to before `stop`; numbers without an axis stay."""
    return mapped(lambda x: x[start:stop] if x.ndim else x, data)


def prediction(outputs: Any) -> Tensor:
    """Return the tensor of predictions among a network's outputs: the only one, or the one called `logits`.

    Raises:
        NoTensor: there is no such tensor.
    """
    if isinstance(outputs, Tensor):
        return outputs
    named = outputs.get("logits") if isinstance(outputs, Mapping) else getattr(outputs, "logits", None)
    found = [named] if isinstance(named, Tensor) else tensors(outputs)
    if len(found) != 1:
        raise NoTensor(
            f"accuracies and recorded outputs need one tensor of predictions (the network returns a "
            f"{type(outputs).__name__} with {len(found)} tensors); let it return one, or name one `logits`"
        )
    return found[0]
