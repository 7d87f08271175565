"""The settings that each job depends on. They are recorded with its output, which is made again when they change.

Imports no torch. The stores that a job reads are covered by their manifests; this module covers the configuration.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from ..common.hashing import digest
from ..common.paths import REPOSITORY
from .catalogue import BESIDE, CATALOGUE
from .plugins import sources
from .presentation import CLAIMS_OF, HEADLINES
from .profile import ProfileConfig
from .run import RunConfig
from .strict import implementations

PUBLISHED = resources.files("centralflows") / "analysis" / "published.json"
"""The numbers that the paper's plots show for its own runs."""

Settings = dict[str, Any]


def dataset(run: RunConfig) -> Settings:
    """Return the settings of the dataset of a run."""
    return {
        "dataset": run.dataset.model_dump(mode="json"),
        "plugins": _plugins(run, "dataset"),
        "code": implementations(run.dataset),
    }


def dataset_name(run: RunConfig) -> str:
    """Return the name of the dataset of a run: its kind and a digest of its settings.

    Runs with the same settings of the dataset share it.
    """
    # Results do not depend on the path of a user's files, but two folders are two datasets.
    known = [run.dataset.model_dump(mode="json"), getattr(run.dataset, "path", None)]
    kind = run.dataset.name.partition(":")[0].replace(".", "-")
    return f"{kind}-{digest(known)[:8]}"


def trajectory(profile: ProfileConfig, name: str, process: str) -> Settings:
    """Return the settings of a trajectory: its run, without the device and the settings of other flows or the analysis.

    Args:
        name: name of the run.
        process: `discrete`, which also makes the midpoints, or a flow.
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


def speeds(profile: ProfileConfig, name: str) -> Settings:
    """Return the settings of the speeds along the central flow of a run."""
    unused = {"stable", "central", "processes", "average_width", "accuracy_every"}
    return _along(profile, profile.runs[name], unused)


def _along(profile: ProfileConfig, run: RunConfig, unused: set[str]) -> Settings:
    return {
        "run": _without(run, unused),
        "threads": profile.threads,
        "plugins": _plugins(run, "model", "criterion", "optimizer"),  # another job makes the dataset
        "code": implementations(run.model, run.optimizer),
    }


def _without(run: RunConfig, unused: set[str]) -> Settings:
    return run.model_dump(mode="json", exclude=unused)


def _plugins(run: RunConfig, *parts: str) -> dict[str, str]:
    """Return digests of the code of the plugins among parts of a run, so that a change of the code is noticed."""
    return {plugin.name: _code(plugin.name) for part, plugin in run.plugins.items() if part in parts}


@cache
def _code(plugin: str) -> str:
    return digest(sources(plugin))


def trajectories(run: RunConfig) -> list[str]:
    """Return the names of the stores of a run's trajectories."""
    return ["discrete", "midpoint", *(process for process in run.processes if process != "discrete")]


def trajectory_jobs(run: RunConfig) -> tuple[str, ...]:
    """Return the outputs of a run's jobs, in order: the discrete run, its flows, and the speeds if requested."""
    flows = tuple(process for process in run.processes if process != "discrete")
    return ("discrete", *flows, *(("speeds",) if run.stationary_every else ()))


def figure(profile: ProfileConfig, name: str) -> Settings:
    """Return the settings of a figure; the widths are those of the time averages of runs that it analyses.

    Args:
        name: name of the figure in the profile.
    """
    shown = profile.figures[name]
    draw = shown.draw or name
    drawing = CATALOGUE[draw]
    analysed = shown.sources if "analysis" in drawing.stores else ()
    return {
        "draw": draw,
        "runs": list(shown.sources),
        "options": shown.model_dump(include={"start", "stop"}),
        "stores": ["discrete", "midpoint", *(store for store in drawing.stores if store != "analysis")],
        "widths": {run: profile.runs[run].average_width for run in analysed},
        "needs": list(drawing.needs),
        "code": [drawing.implementation],
        # The digest of the code does not cover the file with the paper's points.
        "published": digest(PUBLISHED.read_text()) if drawing.category == BESIDE else "",
    }


def measured(run: RunConfig) -> list[str]:
    """Return the names of the stores of a run that the scorecard is measured on."""
    return [*trajectories(run), *(["speeds"] if run.stationary_every else [])]


def scorecard(profile: ProfileConfig) -> Settings:
    """Return the settings of the scorecard of a profile."""
    return {
        "stores": {name: measured(run) for name, run in profile.runs.items()},
        "widths": {name: run.average_width for name, run in profile.runs.items()},
        "published": _published(profile),
        "figures": {name: [figure.draw or name, figure.sources] for name, figure in profile.figures.items()},
    }


def _published(profile: ProfileConfig) -> Settings:
    """Return the numbers in the paper's plots: those of its runs for its own profile, those of its figures for all."""
    known = json.loads(PUBLISHED.read_text())
    return {"runs": known["runs"] if profile.profile == "paper" else {}, "figures": known["figures"]}


CAPTIONS = REPOSITORY / "workflow" / "report"
TEMPLATES = resources.files("centralflows") / "figures" / "templates"


def gallery(profile: ProfileConfig, configfile: str) -> Settings:
    """Return the settings of the page with all figures of a profile.

    Args:
        configfile: path of the profile's file, as a user would type it.
    """
    return {
        "profile": profile.profile,
        "figures": [
            _shown(name, slug, figure.sources)
            for slug in CATALOGUE
            for name, figure in profile.figures.items()
            if (figure.draw or name) == slug
        ],
        "headlines": [list(headline) for headline in HEADLINES.items()],
        "command": "" if profile.profile == "default" else f" --configfile {configfile}",
        "templates": _templates("gallery"),
    }


def _shown(name: str, slug: str, runs: tuple[str, ...]) -> Settings:
    """Return what the gallery says of a figure, by its name in the profile and its slug in the catalogue."""
    return {
        "name": name,
        "slug": slug,
        "category": CATALOGUE[slug].category,
        "claim": CATALOGUE[slug].claim,
        "moves": bool(CATALOGUE[slug].film),
        "scored": list(CLAIMS_OF.get(slug, ())),
        "caption": (CAPTIONS / f"{slug}.rst").read_text(),
        "runs": list(runs),
    }


def explorer(profile: ProfileConfig) -> Settings:
    """Return the settings of the interactive page of a profile's runs."""
    return {
        "profile": profile.profile,
        "stores": {name: trajectories(run) for name, run in profile.runs.items()},
        "widths": {name: run.average_width for name, run in profile.runs.items()},
        "templates": _templates("explorer"),
    }


def _templates(page: str) -> dict[str, str]:
    """Return digests of the templates of a page, which the digest of its code does not cover."""
    files = [file for file in TEMPLATES.iterdir() if file.name.startswith((page, "page."))]
    return {file.name: digest(file.read_text()) for file in sorted(files, key=lambda file: file.name)}
