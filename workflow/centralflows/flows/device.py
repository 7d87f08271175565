"""Device, dtype and determinism."""

from __future__ import annotations

import os

import torch

from ..common.errors import UserError


class NoDevice(UserError, RuntimeError):
    """The device asked for is not there."""


def prepare(device: str, threads: int) -> torch.device:
    """Fix everything that results depend on, and return the device to compute on.

    Args:
        device: "auto" (a GPU if there is one), "cpu" or "cuda".
        threads: of torch's CPU kernels; sums are rounded differently for another number.

    Raises:
        NoDevice: "cuda" was asked for and there is none.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise NoDevice("device 'cuda' was asked for, but torch finds no GPU; set `device: cpu` or `device: auto`")
    return torch.device(device)
