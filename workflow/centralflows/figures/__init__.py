"""The figures of the paper, drawn from stored trajectories. Imports no torch.

Each is a function from trajectories by name ("discrete", "midpoint", "stable", "central", "analysis") to a matplotlib
figure, in `CATALOGUE` under its slug.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import xarray as xr
from matplotlib.figure import Figure

from . import gd
from .style import save

__all__ = ["CATALOGUE", "draw", "save"]

CATALOGUE: dict[str, Callable[..., Figure]] = {
    "gd-eos": gd.eos,
    "gd-central-flow": gd.central_flow,
    "gd-central-flow-multi": gd.central_flow_multi,
    "gd-loss-time-average": gd.loss_time_average,
    "gd-predict-sigma": gd.predict_sigma,
}


def draw(slug: str, data: Mapping[str, xr.Dataset], *, start: int | None = None, stop: int | None = None) -> Figure:
    """Draw a figure of the catalogue, of steps [start, stop); the window is found from the data if both are None."""
    window = None
    if start is not None or stop is not None:
        last = max(int(dataset.step[-1]) for dataset in data.values())
        window = (start or 0, last + 1 if stop is None else stop)
    return CATALOGUE[slug](data, window=window)
