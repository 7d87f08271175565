"""The optimizer that a configuration describes."""

from __future__ import annotations

from ..common.references import load
from ..config import plugins
from ..config.optimizers import AnyOptimizer, OptimizerPluginConfig
from .optimizer import Optimizer, Schedule


def make_optimizer(config: AnyOptimizer) -> Optimizer:
    """Return the configured optimizer.

    Raises:
        PluginError: a plugin cannot be made, or is no optimizer.
    """
    lr = _learning_rate(config)
    if not isinstance(config, OptimizerPluginConfig):
        return load(config.implementation)(lr, **config.arguments())
    made = plugins.make(config.name, lr, **config.options)
    if not isinstance(made, Optimizer):
        raise plugins.PluginError(f"{config.name}: must make a centralflows.Optimizer, not {type(made).__name__}")
    return made


def _learning_rate(config: AnyOptimizer) -> float | Schedule:
    if config.schedule is None:
        return config.lr
    return load(config.schedule.implementation)(config.lr, **config.schedule.arguments())
