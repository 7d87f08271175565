"""Central flows: the differential equations that deterministic optimizers follow at the edge of stability.

The names below load torch when they are first used, so that jobs which only read stores start quickly.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Dataset": "problems.data.dataset",
    "Experiment": "flows.experiment",
    "GradientDescent": "optimizers.gd",
    "Objective": "problems.objective",
    "Optimizer": "optimizers.optimizer",
    "RMSProp": "optimizers.rmsprop",
    "ScalarRMSProp": "optimizers.scalar_rmsprop",
    "open_trajectory": "store.trajectory",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
