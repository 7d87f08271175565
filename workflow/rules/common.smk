"""The validated configuration, paths, and what each job depends on."""

import json
import shutil

from snakemake.exceptions import WorkflowError

from centralflows import config as configuration
from centralflows.provenance import source_digest

try:
    CONFIG = configuration.load(
        config, source=", ".join(map(str, workflow.configfiles)) or "the configuration"
    )
except configuration.ConfigError as error:
    raise WorkflowError(str(error)) from None

RESULTS = f"results/{CONFIG.profile}"
DRAWN = f"figures/{CONFIG.profile}"
LOGS = f"logs/{CONFIG.profile}"

ANALYSES = [f"{RESULTS}/{run}/analysis.zarr" for run in CONFIG.runs]
FIGURES = [
    f"{DRAWN}/{slug}.{kind}" for slug in CONFIG.figures for kind in ("svg", "png")
]


def sorted_json(value):
    """One parameter per job: Snakemake compares parameters as bare values, and would miss two that are swapped."""
    return json.dumps(value, sort_keys=True)


def dataset_config(wildcards):
    return sorted_json(CONFIG.runs[wildcards.run].dataset.model_dump())


def trajectory_config(process):
    """What a process's trajectory depends on: its run, but not the settings of the other flows."""
    others = {"stable", "central"} - {"central" if process == "ablated" else process}

    def parameter(wildcards):
        run = CONFIG.runs[wildcards.run].model_dump(
            mode="json", exclude=others | {"processes", "average_width"}
        )
        return sorted_json(
            {"run": run, "device": CONFIG.device, "threads": CONFIG.threads}
        )

    return parameter


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
    full = getattr(CONFIG.runs[wildcards.run].dataset, "needs_full", False)
    return {"cifar10": "results/cifar10.npz"} if full else {}


def figure_inputs(slug):
    run = CONFIG.figures[slug].run
    return trajectories(run) | sealed("analysis", f"{RESULTS}/{run}/analysis.zarr")


def figure_config(slug):
    figure = CONFIG.figures[slug]
    return sorted_json(
        {
            "draw": figure.draw or slug,
            "processes": processes(figure.run),
            "options": figure.model_dump(include={"start", "stop"}),
        }
    )


def gpus():
    """GPUs that a trajectory job takes: one where there is one to take."""
    wanted = CONFIG.device == "cuda" or (
        CONFIG.device == "auto" and shutil.which("nvidia-smi")
    )
    return 1 if wanted else 0
