"""Learning-rate schedules: functions of the optimizer's step counter.

The counter is a float64 tensor that starts at 1; in a flow it is continuous.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from .optimizer import Schedule


def constant(lr: float) -> Schedule:
    return lambda step: torch.full_like(step, lr)


def warmup(lr: float, *, steps: int) -> Schedule:
    """Return a schedule that rises linearly to `lr` at step `steps`, then stays."""
    return lambda step: lr * (step / steps).clamp(max=1.0)


def cosine(lr: float, *, steps: int, final: float = 0.0) -> Schedule:
    """Return a schedule that falls from `lr` at step 0 to `final * lr` at step `steps` along half a cosine, then
    stays."""
    return lambda step: lr * (final + (1 - final) * (1 + torch.cos(math.pi * (step / steps).clamp(max=1.0))) / 2)


def piecewise(lr: float, *, steps: Sequence[int], factors: Sequence[float]) -> Schedule:
    """Return a schedule of `lr` before the first of the steps, then `lr` times the first of the factors, and so on.

    A flow is affected by the jumps.
    """

    def schedule(step: torch.Tensor) -> torch.Tensor:
        rate = torch.full_like(step, lr)
        for start, factor in zip(steps, factors, strict=True):
            rate = torch.where(step >= start, lr * factor, rate)
        return rate

    return schedule
