"""Optimizers: one rule, one file, one interface."""

from __future__ import annotations

from .. import plugins, schema
from . import schedules
from .base import Optimizer, Schedule
from .gd import GradientDescent
from .rmsprop import RMSProp
from .scalar_rmsprop import ScalarRMSProp

__all__ = ["GradientDescent", "Optimizer", "RMSProp", "ScalarRMSProp", "build"]

RULES = {"gd": GradientDescent, "scalar-rmsprop": ScalarRMSProp, "rmsprop": RMSProp}


def build(settings: schema.OptimizerConfig) -> Optimizer:
    """The configured optimizer."""
    lr = _schedule(settings.lr, settings.schedule)
    if settings.name in RULES:
        return RULES[settings.name](lr, **settings.model_dump(exclude={"name", "lr", "schedule"}))
    made = plugins.make(settings.name, lr, **settings.options)
    if not isinstance(made, Optimizer):
        raise plugins.PluginError(f"{settings.name}: must make a centralflows.Optimizer, not {type(made).__name__}")
    return made


def _schedule(lr: float, schedule: schema.Schedule | None) -> float | Schedule:
    if schedule is None:
        return lr
    return getattr(schedules, schedule.name)(lr, **schedule.model_dump(exclude={"name"}))
