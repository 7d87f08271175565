"""The settings that each job depends on: they stand in the record of what it makes, which is made again when they change.

Imports no torch. Stores that a job reads count by their manifests; here stands what the configuration says to it.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from ..common.hashing import digest
from .plugins import sources
from .profile import Config
from .run import RunConfig
from .strict import implementations

PUBLISHED = resources.files("centralflows") / "analysis" / "published.json"
"""What the paper's plots show of its own runs."""

Settings = dict[str, Any]


def dataset(run: RunConfig) -> Settings:
    """Those of the dataset of a run."""
    return {
        "dataset": run.dataset.model_dump(mode="json"),
        "plugins": _plugins(run, "dataset"),
        "code": implementations(run.dataset),
    }


def dataset_name(run: RunConfig) -> str:
    """Runs that learn the same have one dataset: its name says what, and tells it from others of its kind."""
    # The folder of files that a user brought is no setting that results depend on, but two folders are two datasets.
    known = [run.dataset.model_dump(mode="json"), getattr(run.dataset, "path", None)]
    kind = run.dataset.name.partition(":")[0].replace(".", "-")
    return f"{kind}-{digest(known)[:8]}"


def trajectory(profile: Config, name: str, process: str) -> Settings:
    """Those of a trajectory: its run, but not what other flows and the analysis alone depend on, nor the device.

    Args:
        name: of the run.
        process: `discrete`, which makes the midpoints too, or a flow.
    """
    run, flows = profile.runs[name], ("stable", "central", "stationary")
    own = [key for key in flows if process in getattr(run, key).flows]
    unused = {*flows, "processes", "average_width", "stationary_every"} - set(own)
    found = _along(profile, run, unused)
    found["code"] += [getattr(run, key).flows[process] for key in own]
    if run.start is not None and process == "discrete":
        source = profile.runs[run.start.run]
        found["source"] = _without(source, unused)
        found["code"] += implementations(run.start, source.model, source.optimizer)
    return found


def speeds(profile: Config, name: str) -> Settings:
    """Those of the speeds along the central flow of a run."""
    unused = {"stable", "central", "processes", "average_width", "accuracy_every"}
    return _along(profile, profile.runs[name], unused)


def _along(profile: Config, run: RunConfig, unused: set[str]) -> Settings:
    return {
        "run": _without(run, unused),
        "threads": profile.threads,
        "plugins": _plugins(run, "model", "criterion", "optimizer"),  # a dataset has a job of its own
        "code": implementations(run.model, run.optimizer),
    }


def _without(run: RunConfig, unused: set[str]) -> Settings:
    return run.model_dump(mode="json", exclude=unused)


def _plugins(run: RunConfig, *parts: str) -> dict[str, str]:
    """Code of the plugins among parts of a run, so that a change of it is noticed."""
    return {plugin.name: _code(plugin.name) for part, plugin in run.plugins.items() if part in parts}


@cache
def _code(plugin: str) -> str:
    return digest(sources(plugin))


def trajectories(run: RunConfig) -> list[str]:
    """Stores of the trajectories of a run."""
    return ["discrete", "midpoint", *(process for process in run.processes if process != "discrete")]


def analysis(run: RunConfig) -> Settings:
    """Those of the analysis of a run's trajectories."""
    return {"processes": trajectories(run), "average_width": run.average_width}


def measured(run: RunConfig) -> list[str]:
    """Stores of a run that the scorecard is measured on."""
    return [*trajectories(run), *(["speeds"] if run.stationary_every else [])]


def scorecard(profile: Config) -> Settings:
    """Those of the scorecard of a profile."""
    return {
        "stores": {name: measured(run) for name, run in profile.runs.items()},
        "widths": {name: run.average_width for name, run in profile.runs.items()},
        # What the paper's plots show holds for its own runs.
        "published": json.loads(PUBLISHED.read_text())["runs"] if profile.profile == "paper" else {},
    }


def gallery(profile: Config, configfile: str) -> Settings:
    """Those of the page with all figures of a profile.

    Args:
        configfile: the profile's file, as a user would name it.
    """
    return {
        "profile": profile.profile,
        "figures": {name: figure.draw or name for name, figure in profile.figures.items()},
        "command": "" if profile.profile == "default" else f" --configfile {configfile}",
    }
