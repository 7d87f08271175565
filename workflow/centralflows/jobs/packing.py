"""Conversion of nested named tuples of tensors to arrays and JSON, and back, to the last bit and in the same layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor


def packed(tree: Any, arrays: list[ndarray]) -> Any:
    """Return the JSON of a tree, and append its arrays to `arrays`.

    The tree consists of (named) tuples, mappings, tensors, arrays, numbers, text and None.
    """
    if isinstance(tree, Tensor):
        # Sums along rows and along columns round differently, so the layout is kept.
        by_columns = tree.ndim == 2 and not tree.is_contiguous() and tree.T.is_contiguous()
        arrays.append((tree.T if by_columns else tree).detach().contiguous().cpu().numpy())
        return {"tensor": len(arrays) - 1, "by_columns": by_columns, "device": tree.device.type}
    if isinstance(tree, ndarray):
        arrays.append(tree)
        return {"array": len(arrays) - 1}
    if isinstance(tree, dict):
        return {"mapping": {key: packed(part, arrays) for key, part in tree.items()}}
    if isinstance(tree, tuple):
        return {"tuple": type(tree).__name__, "parts": [packed(part, arrays) for part in tree]}
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return {"value": tree}
    raise TypeError(f"a {type(tree).__name__} cannot be packed")


def unpacked(packing: Any, arrays: Callable[[int], ndarray], kinds: Iterable[type]) -> Any:
    """Return the tree that a JSON describes.

    Args:
        arrays: returns the array with a number.
        kinds: types of named tuples that the tree may contain.

    Raises:
        KeyError: the JSON is not that of a tree, or names another type.
    """
    by_name: dict[str, Any] = {kind.__name__: kind._make for kind in kinds} | {"tuple": tuple}

    def unpack(node: Any) -> Any:
        if "tensor" in node:
            tensor = torch.from_numpy(arrays(node["tensor"])).clone().to(node["device"])  # torch aligns the copy
            return tensor.T if node["by_columns"] else tensor
        if "array" in node:
            return np.array(arrays(node["array"]))
        if "mapping" in node:
            return {key: unpack(part) for key, part in node["mapping"].items()}
        if "tuple" in node:
            return by_name[node["tuple"]]([unpack(part) for part in node["parts"]])
        return node["value"]

    return unpack(packing)
