"""The validated configuration, paths, and what each job depends on."""

import json
import shutil
import typing
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

from centralflows import config as configuration
from centralflows.data import sst2
from centralflows.errors import UserError
from centralflows.plugins import sources
from centralflows.provenance import digest, source_digest

READ_FROM = ", ".join(map(str, workflow.configfiles)) or "the configuration"

try:
    CONFIG = configuration.load(config, source=READ_FROM)
    # Plugins are built once before any job; the jobs' own processes read this file too, and build what they need.
    if workflow.is_main_process and any(run.plugins for run in CONFIG.runs.values()):
        from centralflows.plugin_checks import mistakes  # loads torch

        if wrong := mistakes(CONFIG.runs):
            raise configuration.report(READ_FROM, wrong)
except configuration.ConfigError as error:
    raise WorkflowError(str(error)) from None

if CONFIG.cifar10_path and not Path(CONFIG.cifar10_path).expanduser().exists():
    raise WorkflowError(f"cifar10_path: there is no {CONFIG.cifar10_path}")


def sst2_files(run):
    """The user's files, found before any job starts."""
    try:
        return sst2.files(CONFIG.runs[run].dataset.path)
    except UserError as error:
        raise WorkflowError(f"runs.{run}.dataset.path: {error}") from None


SST2 = {
    run: sst2_files(run)
    for run, settings in CONFIG.runs.items()
    if settings.dataset.name == "sst2"
}

RESULTS = f"results/{CONFIG.profile}"
DRAWN = f"figures/{CONFIG.profile}"
LOGS = f"logs/{CONFIG.profile}"

ANALYSES = [f"{RESULTS}/{run}/analysis.zarr" for run in CONFIG.runs] + [
    f"{RESULTS}/{name}/speeds.zarr"
    for name, run in CONFIG.runs.items()
    if run.stationary_every
]
FIGURES = [
    f"{DRAWN}/{slug}.{kind}" for slug in CONFIG.figures for kind in ("svg", "png")
]


def sorted_json(value):
    """One parameter per job: Snakemake compares parameters as bare values, and would miss two that are swapped."""
    return json.dumps(value, sort_keys=True)


def dataset_config(wildcards):
    run = CONFIG.runs[wildcards.run]
    cfg = {
        "dataset": run.dataset.model_dump(mode="json"),
        "plugins": plugin_sources(run, "dataset"),
    }
    return sorted_json(cfg)


def trajectory_config(process):
    """What a process's trajectory depends on: its run, but not the settings of the other flows, nor the device."""
    own = process.removesuffix("-ablated").replace("ablated", "central")
    others = {"stable", "central", "stationary"} - {own}

    def parameter(wildcards):
        run = CONFIG.runs[wildcards.run]
        cfg = {
            "run": dumped(run, others),
            "threads": CONFIG.threads,
            "plugins": plugin_sources(run, *LEARNING),
        }
        if run.start is not None and process == "discrete":
            cfg["source"] = dumped(CONFIG.runs[run.start.run], others)
        return sorted_json(cfg)

    return parameter


def dumped(run, excluded):
    """The settings of a run that its trajectories depend on."""
    analysed = {"processes", "average_width", "stationary_every"}
    return run.model_dump(mode="json", exclude=excluded | analysed)


def speeds_config(wildcards):
    run = CONFIG.runs[wildcards.run]
    unused = {"stable", "central", "processes", "average_width", "accuracy_every"}
    cfg = {
        "run": run.model_dump(mode="json", exclude=unused),
        "threads": CONFIG.threads,
        "plugins": plugin_sources(run, *LEARNING),
    }
    return sorted_json(cfg)


LEARNING = ("model", "criterion", "optimizer")  # a dataset has a job of its own


def plugin_sources(run, *parts):
    """Code of the plugins among parts of a run, so that a change of it is noticed."""
    used = [plugin.name for part, plugin in run.plugins.items() if part in parts]
    return {name: plugin_digest(name) for name in used}


@cache
def plugin_digest(name):
    return digest(sources(name))


def start_inputs(wildcards):
    """Stores that a run starts from."""
    start = CONFIG.runs[wildcards.run].start
    if start is None:
        return {}
    return {
        key: path
        for process in ("discrete", "midpoint")
        for key, path in sealed(
            f"source_{process}", f"{RESULTS}/{start.run}/{process}.zarr"
        ).items()
    }


def flow_config(wildcards):
    return trajectory_config(wildcards.flow)(wildcards)


def processes(run):
    """Trajectories of a run."""
    return [
        "discrete",
        "midpoint",
        *(p for p in CONFIG.runs[run].processes if p != "discrete"),
    ]


def analysis_config(wildcards):
    run = CONFIG.runs[wildcards.run]
    return sorted_json(
        {"processes": processes(wildcards.run), "average_width": run.average_width}
    )


def sealed(name, path):
    """Inputs of a consumer of a sealed store: the store counts by its seal, whatever its time stamp."""
    return {name: ancient(path), f"{name}_seal": f"{path}.seal.json"}


def trajectories(run):
    return {
        key: path
        for process in processes(run)
        for key, path in sealed(process, f"{RESULTS}/{run}/{process}.zarr").items()
    }


def analysis_inputs(wildcards):
    return trajectories(wildcards.run)


def dataset_inputs(wildcards):
    if wildcards.run in SST2:
        return {part: str(file) for part, file in SST2[wildcards.run].items()}
    full = CONFIG.runs[wildcards.run].dataset.needs_full
    return {"cifar10": ancient("results/cifar10.npz")} if full else {}


def shown(slug):
    """Trajectories that a figure is drawn from."""
    figure = CONFIG.figures[slug]
    return ["discrete", "midpoint", *configuration.CATALOGUE[figure.draw or slug]]


def figure_inputs(slug):
    run, flows = CONFIG.figures[slug].run, shown(slug)[2:]
    # Without flows there is nothing to compare, and no need to wait for any.
    stores = [*shown(slug), *(["analysis"] if flows else [])]
    return {
        key: path
        for store in stores
        for key, path in sealed(store, f"{RESULTS}/{run}/{store}.zarr").items()
    }


def figure_config(slug):
    figure = CONFIG.figures[slug]
    options = figure.model_dump(include={"start", "stop"})
    return sorted_json({"draw": figure.draw or slug, "options": options})


def about(slug):
    """The run of a figure in one line, for its caption."""
    name = CONFIG.figures[slug].run
    run = CONFIG.runs[name]
    parts = {
        key: ", ".join(
            f"{k} {v}"
            for k, v in part.model_dump(exclude_defaults=True).items()
            if k != "name"
        )
        for key, part in (
            ("model", run.model),
            ("dataset", run.dataset),
            ("optimizer", run.optimizer),
        )
    }
    described = "; ".join(
        f"{getattr(run, key).name}" + (f" ({text})" if text else "")
        for key, text in parts.items()
    )
    return f"{name}: {described}; {run.steps} steps"


def gpus():
    """GPUs that a trajectory job takes: one where there is one to take."""
    wanted = CONFIG.device == "cuda" or (
        CONFIG.device == "auto" and shutil.which("nvidia-smi")
    )
    return 1 if wanted else 0
