"""Differences in software, code and configuration between two records, or between a record and the present."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ..common.errors import UserError
from ..common.hashing import file_of, module_digests
from ..common.paths import REPOSITORY
from ..config import job_settings
from ..config.messages import ConfigError
from ..config.profile import ProfileConfig, load
from . import environment
from .manifest import lock_digest, script_of

Differences = dict[str, tuple[Any, Any]]
ABSENT = "none"


def differences(one: Any, other: Any, path: str = "") -> Differences:
    """Return the values that differ between two nested mappings, by dotted key; a missing value is `ABSENT`."""
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return {path: (one, other)} if one != other else {}
    found: Differences = {}
    for key in sorted(one.keys() | other.keys()):
        found |= differences(one.get(key, ABSENT), other.get(key, ABSENT), f"{path}.{key}" if path else str(key))
    return found


def between(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Differences]:
    """Return the differences between two records, by kind."""
    kinds = {
        "config": ("config",),
        "code": ("commit", "dirty", "modules"),
        "software": ("software", "lock", "libraries", "variables"),
        "machine": ("machine", "gpu", "device", "threads"),
    }
    return {
        kind: differences(*({key: made.get(key) for key in keys} for made in (one, other)))
        for kind, keys in kinds.items()
    }


def since(made: Mapping[str, Any], locate: Callable[[str], Path]) -> Iterator[str]:
    """Yield the changes since an output was made.

    They do not affect the output, but a new one would be made differently.

    Args:
        made: record of the output.
        locate: returns the present path of the configuration file in a record.
    """
    now = environment.software()
    for name, (then, version) in _known(made["software"], {name: now.get(name, ABSENT) for name in made["software"]}):
        yield f"software: {name} was {then}, is {version}"
    if made["lock"] != lock_digest():
        yield "software: envs/requirements.lock differs"
    yield from _code(made)
    if "configfile" in made:
        yield from _config(made, locate(made["configfile"]))


def _code(made: Mapping[str, Any]) -> Iterator[str]:
    script = script_of(made["rule"])
    if not (REPOSITORY / script).is_file():
        yield f"code: {script} no longer exists"
        return
    for module in differences(made["modules"], module_digests(script, *_references(made))):
        yield f"code: {module} was edited"


def _references(made: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the references to code in the settings of a record whose files still exist."""
    references = made["config"].get("code", ()) if isinstance(made["config"], Mapping) else ()
    return tuple(reference for reference in references if file_of(reference).is_file())


def _config(made: Mapping[str, Any], file: Path) -> Iterator[str]:
    try:
        found = list(reset(made, _profile(file)))
    except (ConfigError, UserError) as error:  # the latter comes from plugins that the file names
        yield f"config: {str(error).removeprefix('ConfigError: ').splitlines()[0]}"
        return
    for key, (then, now) in found:
        yield f"config: {key} was {then}, is {now} in {made['configfile']}"


def reset(made: Mapping[str, Any], profile: ProfileConfig) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Return the settings that differ between a record and a profile, by dotted key: the old and the present value."""
    return _known(made["config"], configured(made, profile))


@cache
def _profile(file: Path) -> ProfileConfig:
    return load(file)


def configured(made: Mapping[str, Any], profile: ProfileConfig) -> dict[str, Any]:
    """Return the present values of a record's settings in a profile."""
    rule, wildcards = made["rule"], made["wildcards"]
    for slug in profile.figures:
        if rule == f"figure_{slug.replace('-', '_')}":
            return job_settings.figure(profile, slug)
    name = wildcards.get("run")
    if name is not None and name not in profile.runs:
        return {"run": ABSENT}
    match rule:
        case "dataset":
            runs = {job_settings.dataset_name(run): run for run in profile.runs.values()}
            run = runs.get(wildcards["dataset"])
            return job_settings.dataset(run) if run else {"dataset": ABSENT}
        case "discrete" | "flow":
            return job_settings.trajectory(profile, name, wildcards.get("flow", rule))
        case "speeds":
            return job_settings.speeds(profile, name)
        case "scorecard":
            return job_settings.scorecard(profile)
        case "explorer":
            return job_settings.explorer(profile)
        case "gallery":
            return job_settings.gallery(profile, made["configfile"])
    return {}


def _known(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Yield the differences in the keys that both mappings have."""
    shared = {key: then[key] for key in then.keys() & now.keys()}
    for key, values in differences(shared, {key: now[key] for key in shared}).items():
        if values[0] != ABSENT:
            yield key, values
