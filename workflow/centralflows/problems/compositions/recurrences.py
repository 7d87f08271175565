"""Recurrent layers of torch without the fused libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def without_cudnn(function: Callable) -> Callable:
    """Return a recurrent function that, on a GPU, does not use cuDNN, whose kernels have no second derivative."""

    def recurrent(data: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if not data.is_cuda:
            return None
        with torch.backends.cudnn.flags(enabled=False):
            return function(data, *args, **kwargs)

    return recurrent
