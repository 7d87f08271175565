"""Learning-rate schedules: functions of the optimizer's step counter (a float64 tensor, from 1 on, continuous in a flow)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from .optimizer import Schedule


def constant(lr: float) -> Schedule:
    return lambda step: torch.full_like(step, lr)


def warmup(lr: float, *, steps: int) -> Schedule:
    """Rises linearly to `lr` at step `steps`, and stays."""
    return lambda step: lr * (step / steps).clamp(max=1.0)


def cosine(lr: float, *, steps: int, final: float = 0.0) -> Schedule:
    """Falls from `lr` at step 0 to `final * lr` at step `steps` along half a cosine, and stays."""
    return lambda step: lr * (final + (1 - final) * (1 + torch.cos(math.pi * (step / steps).clamp(max=1.0))) / 2)


def piecewise(lr: float, *, steps: Sequence[int], factors: Sequence[float]) -> Schedule:
    """`lr` until the first of the steps, then `lr` times the first of the factors, and so on. A flow feels the jumps."""

    def schedule(step: torch.Tensor) -> torch.Tensor:
        rate = torch.full_like(step, lr)
        for start, factor in zip(steps, factors, strict=True):
            rate = torch.where(step >= start, lr * factor, rate)
        return rate

    return schedule
