"""Optimizers: one rule, one file, one interface."""

from __future__ import annotations

from .. import config
from . import schedules
from .base import Optimizer, Schedule
from .gd import GradientDescent
from .rmsprop import RMSProp
from .scalar_rmsprop import ScalarRMSProp

__all__ = ["GradientDescent", "Optimizer", "RMSProp", "ScalarRMSProp", "build"]

RULES = {"gd": GradientDescent, "scalar-rmsprop": ScalarRMSProp, "rmsprop": RMSProp}


def build(settings: config.OptimizerConfig) -> Optimizer:
    """The configured optimizer."""
    options = settings.model_dump(exclude={"name", "lr", "schedule"})
    return RULES[settings.name](_schedule(settings.lr, settings.schedule), **options)


def _schedule(lr: float, schedule: config.Schedule | None) -> float | Schedule:
    if schedule is None:
        return lr
    return getattr(schedules, schedule.name)(lr, **schedule.model_dump(exclude={"name"}))
