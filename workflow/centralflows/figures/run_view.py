"""A run as figures use it: its stores by name, its settings, and the steps that are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from ..analysis.crossings import last_known
from ..analysis.run_settings import attributes, setting
from ..analysis.windows import Window
from ..common.errors import UserError

Run = Mapping[str, xr.Dataset]  # "discrete", "midpoint", flows, "analysis", "speeds"
Runs = Mapping[str, Run]

NETWORKS = {
    "mlp": "MLP",
    "cnn": "CNN",
    "resnet": "ResNet",
    "vit": "ViT",
    "lstm": "LSTM",
    "transformer": "Transformer",
    "mamba": "Mamba",
}
OPTIMIZERS = {"gd": "gradient descent", "scalar-rmsprop": "Scalar RMSProp", "rmsprop": "RMSProp"}
CLASSES = {"GradientDescent": "gd", "ScalarRMSProp": "scalar-rmsprop", "RMSProp": "rmsprop"}


class NotShown(UserError, ValueError):
    """The data of a run do not hold what a figure shows."""


def network(run: Run) -> str:
    """Return the display name of the run's network."""
    name = setting(run, "model", "name") or "network"
    return NETWORKS.get(name, name.partition(":")[2] or name)


def optimizer(run: Run) -> str:
    """Return the display name of the run's optimizer; a user's own is called by its class."""
    name = setting(run, "optimizer", "name") or ""
    given = str(attributes(run).get("optimizer_name", "")) or name.partition(":")[2]
    return OPTIMIZERS.get(name or CLASSES.get(given, ""), given or "discrete optimizer")


def learning_rate(run: Run) -> str:
    """Return the learning rate as a label."""
    lr = setting(run, "optimizer", "lr")
    lr = attributes(run).get("learning_rate", "") if lr is None else lr
    return f"lr {lr:.3g}" if isinstance(lr, float | int) else "learning rate by a schedule" if lr else "learning rate"


def names(run: Run) -> dict[str, str]:
    """Return the legend name of each process of the run."""
    plain = optimizer(run)
    return {
        "discrete": plain,
        "stable": "gradient flow" if plain == "gradient descent" else "stable flow",
        "central": "central flow",
        "ablated": "without curvature penalty",
        "stationary": "stationary flow",
        "stationary-ablated": "stationary flow without curvature penalty",
    }


def _within(dataset: xr.Dataset, window: Window) -> xr.Dataset:
    """Return the steps of a window; they do not say why the trajectory ends if it ends later."""
    last = last_known(dataset.loss) if "loss" in dataset else None
    ends = last is not None and last[0] < window[1] - 1
    kept = dataset.sel(step=slice(window[0], window[1] - 1))
    return kept if ends else kept.drop_attrs(deep=False).assign_attrs(_without(dataset.attrs, "stopped"))


def _without(attrs: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in attrs.items() if name != key}


def with_seeds(run: Run, seeds: Sequence[Run], window: Window | None) -> list[dict[str, xr.Dataset]]:
    """Return a run and its repetitions with other seeds, restricted to a window; nothing if there are none."""
    return [cut(each, window) for each in (run, *seeds)] if seeds else []


def cut(run: Run, window: Window | None) -> dict[str, xr.Dataset]:
    """Return the run's stores, restricted to the steps of a window.

    Raises:
        NotShown: a store has no step in the window.
    """
    if window is None:
        return dict(run)
    shown = {name: _within(dataset, window) for name, dataset in run.items()}
    empty = [name for name, dataset in shown.items() if not dataset.sizes["step"]]
    if empty:
        raise NotShown(f"no step of {', '.join(empty)} lies in [{window[0]}, {window[1]})")
    return shown
