"""The settings of a run, which its stores carry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import xarray as xr


def attributes(run: Mapping[str, xr.Dataset]) -> Mapping[str, Any]:
    """Return the attributes of the discrete run, or those of another process if the run has no discrete one."""
    return next((run[process].attrs for process in ("discrete", *run) if process in run), {})


def setting(run: Mapping[str, xr.Dataset], *path: str) -> Any:
    """Return a setting of the run, for example `setting(run, "optimizer", "lr")`; None if it is not known.

    Stores carry their configuration; trajectories that were never stored do not.
    """
    found: Any = json.loads(attributes(run).get("config", "{}")).get("run", {})
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found
