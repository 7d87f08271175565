"""The device, and the settings that make results deterministic."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from ..common.errors import UserError


@contextmanager
def full_precision() -> Iterator[None]:
    """Switch TF32 off within a block: its ten bits leave nothing of second and third derivatives."""
    places = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [place.allow_tf32 for place in places]
    try:
        for place in places:
            place.allow_tf32 = False
        yield
    finally:
        for place, allowed in zip(places, before, strict=True):
            place.allow_tf32 = allowed


class NoDevice(UserError, RuntimeError):
    """The requested device is not available."""


def prepare(device: str, threads: int) -> torch.device:
    """Fix all settings that results depend on, and return the device to compute on.

    Args:
        device: "auto" (a GPU if there is one), "cpu" or "cuda".
        threads: of torch's CPU kernels and of numpy's BLAS; another number rounds sums differently.

    Raises:
        NoDevice: "cuda" was requested, but there is none.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    threadpool_limits(threads, user_api="blas")  # torch does not limit the BLAS of numpy
    # The same switch as `use_deterministic_algorithms`, which also loads torch's compiler: a second or more per job.
    torch.set_deterministic_debug_mode("error")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise NoDevice("device 'cuda' was requested, but torch finds no GPU; set `device: cpu` or `device: auto`")
    return torch.device(device)
