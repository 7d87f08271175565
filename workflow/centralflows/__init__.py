"""Central flows: the differential equations that optimizers follow at the edge of stability.

The names below import torch when they are first used. Programs that only read stores start quickly.
"""

from typing import Any

from .common.references import load

_HOMES = {
    "CentralConfig": "config.processes",
    "Dataset": "problems.data.dataset",
    "Experiment": "flows.experiment",
    "GradientDescent": "optimizers.gd",
    "NotSmoothWarning": "derivatives.derivative_check",
    "Objective": "problems.objective",
    "Optimizer": "optimizers.optimizer",
    "PUBLISHED_CENTRAL": "config.processes",
    "PUBLISHED_STABLE": "config.processes",
    "RMSProp": "optimizers.rmsprop",
    "ScalarRMSProp": "optimizers.scalar_rmsprop",
    "SpectrumConfig": "config.processes",
    "StableConfig": "config.processes",
    "StationaryConfig": "config.processes",
    "open_run": "store.trajectory",
    "open_trajectory": "store.trajectory",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return load(f"{__name__}.{_HOMES[name]}:{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
