"""The validated configuration, paths, and what each job depends on."""

import json
import os
import typing
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

from centralflows import config as configuration
from centralflows import config_file
from centralflows.catalogue import CATALOGUE
from centralflows.data import cifar10, sst2
from centralflows.errors import UserError
from centralflows.plugins import sources
from centralflows.provenance import digest, source_digest

READ_FROM = ", ".join(map(str, workflow.configfiles)) or "the configuration"

try:
    # Snakemake, which has read the files already, lets more pass: of two equal keys it took the last.
    if workflow.is_main_process:
        for file in workflow.configfiles:
            config_file.read(file)
    CONFIG = configuration.load(config, source=READ_FROM)
    # Plugins are built once before any job; the jobs' own processes read this file too, and build what they need.
    if workflow.is_main_process and any(run.plugins for run in CONFIG.runs.values()):
        from centralflows.plugin_checks import mistakes  # loads torch

        if wrong := mistakes(CONFIG.runs):
            raise configuration.report(READ_FROM, wrong)
except configuration.ConfigError as error:
    raise WorkflowError(str(error)) from None

if CONFIG.cifar10_path and not os.path.exists(os.path.expanduser(CONFIG.cifar10_path)):
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
ANIMATED = [
    slug
    for slug, figure in CONFIG.figures.items()
    if (figure.draw or slug) in ("gd-central-flow", "rmsprop-central-flow")
]


def sorted_json(value):
    """One parameter per job: Snakemake compares parameters as bare values, and would miss two that are swapped."""
    return json.dumps(value, sort_keys=True)


def dataset_of(run):
    """The settings that a run's dataset depends on."""
    return {
        "dataset": CONFIG.runs[run].dataset.model_dump(mode="json"),
        "plugins": plugin_sources(CONFIG.runs[run], "dataset"),
    }


def dataset_name(run):
    """Runs that learn the same have one dataset: its name says what, and tells it from others of its kind."""
    dataset = CONFIG.runs[run].dataset
    # The folder of files that a user brought is no setting that results depend on, but two folders are two datasets.
    settings = [dataset.model_dump(mode="json"), getattr(dataset, "path", None)]
    kind = dataset.name.partition(":")[0].replace(".", "-")
    return f"{kind}-{digest(settings)[:8]}"


# A run for each dataset, to read its settings from.
DATASETS = {dataset_name(run): run for run in reversed(CONFIG.runs)}


def dataset_config(wildcards):
    return sorted_json(dataset_of(DATASETS[wildcards.dataset]))


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


def dataset_store(wildcards):
    """The dataset of a run."""
    name = dataset_name(wildcards.run)
    return sealed("dataset", f"{RESULTS}/datasets/{name}.npz")


def start_inputs(wildcards):
    """The dataset of a run, and the stores that it starts from."""
    dataset, start = dataset_store(wildcards), CONFIG.runs[wildcards.run].start
    if start is None:
        return dataset
    return dataset | {
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


def analysis_inputs(wildcards):
    """Trajectories of a run, by process."""
    run = wildcards.run
    return {
        key: path
        for process in processes(run)
        for key, path in sealed(process, f"{RESULTS}/{run}/{process}.zarr").items()
    }


def dataset_inputs(wildcards):
    run = DATASETS[wildcards.dataset]
    if run in SST2:
        return {part: str(file) for part, file in SST2[run].items()}
    if CONFIG.runs[run].dataset.name != "cifar10":
        return {}
    full = CONFIG.runs[run].dataset.needs_full
    return {"cifar10": ancient("results/cifar10.npz" if full else str(cifar10.SUBSET))}


def drawing(slug):
    """What the catalogue says of a configured figure."""
    return CATALOGUE[CONFIG.figures[slug].draw or slug]


def figure_inputs(slug):
    """Stores of the runs that a figure is drawn from, as `<run>/<store>`."""
    shown = ("discrete", "midpoint", *drawing(slug).stores)
    return stores_of({run: shown for run in CONFIG.figures[slug].sources})


def stores_of(runs):
    """Sealed stores of several runs, as `<run>/<store>`."""
    return {
        key: path
        for run, stores in runs.items()
        for store in stores
        for key, path in sealed(
            f"{run}/{store}", f"{RESULTS}/{run}/{store}.zarr"
        ).items()
    }


def measured():
    """Stores that the scorecard is measured on, by run."""
    return {
        name: [*processes(name), *(["speeds"] if run.stationary_every else [])]
        for name, run in CONFIG.runs.items()
    }


def scorecard_config():
    published = json.loads(
        Path(workflow.basedir, "workflow/resources/published.json").read_text()
    )
    return sorted_json(
        {
            "stores": measured(),
            "widths": {name: run.average_width for name, run in CONFIG.runs.items()},
            # What the paper's plots show holds for its own runs.
            "published": published["runs"] if CONFIG.profile == "paper" else {},
        }
    )


def configfile_name():
    """The configuration file as a user would name it."""
    path = Path(workflow.configfiles[0]).resolve()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def gallery_config():
    default = CONFIG.profile == "default"
    return sorted_json(
        {
            "profile": CONFIG.profile,
            "figures": {
                slug: figure.draw or slug for slug, figure in CONFIG.figures.items()
            },
            "command": "" if default else f" --configfile {configfile_name()}",
        }
    )


def figure_config(slug):
    return sorted_json(CONFIG.figures[slug].settings(slug))


def about(slug):
    """The runs of a figure, one line each, for its caption."""
    return "; ".join(
        f"**{name}**, {described(CONFIG.runs[name])}"
        for name in CONFIG.figures[slug].sources
    )


def described(run):
    """A run in one line: its network, dataset and optimizer, and what of them is not the default."""
    parts = []
    for part in (run.model, run.dataset, run.optimizer):
        options = part.model_dump(exclude_defaults=True)
        text = ", ".join(f"{k} {v}" for k, v in options.items() if k != "name")
        parts.append(part.name + (f" ({text})" if text else ""))
    return f"{', '.join(parts)}, {run.steps} steps"
