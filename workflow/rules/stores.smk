"""Paths of all outputs, and the inputs and parameters of jobs."""

import json

from centralflows.config import job_settings
from centralflows.config.catalogue import CATALOGUE
from centralflows.problems.data import cifar10
from centralflows.common.hashing import source_digest

RESULTS = f"results/{CONFIG.profile}"
DRAWN = f"figures/{CONFIG.profile}"
LOGS = f"logs/{CONFIG.profile}"


def store(run, name):
    return f"{RESULTS}/{run}/{name}.zarr"


FIGURES = [
    f"{DRAWN}/{slug}.{kind}" for slug in CONFIG.figures for kind in ("svg", "png")
]
FILMED = [
    slug
    for slug, figure in CONFIG.figures.items()
    if CATALOGUE[figure.draw or slug].film
]
FILMS = [f"{DRAWN}/{slug}.gif" for slug in FILMED]

# One run per dataset, which has the dataset's settings.
DATASETS = {
    job_settings.dataset_name(run): name for name, run in reversed(CONFIG.runs.items())
}


def recorded(**stores):
    """Return stores and their manifests as inputs. A changed manifest repeats a job; the time stamp of a store does not."""
    inputs = {}
    for name, path in stores.items():
        inputs |= {name: ancient(path), f"{name}_manifest": f"{path}.manifest.json"}
    return inputs


def stores_of(runs):
    """Return the stores of several runs as inputs, named `<run>/<store>`."""
    return recorded(
        **{
            f"{run}/{name}": store(run, name)
            for run, names in runs.items()
            for name in names
        }
    )


def dataset_inputs(wildcards):
    """Return the files from which a dataset is made."""
    run = DATASETS[wildcards.dataset]
    if run in SST2:
        return {part: str(file) for part, file in SST2[run].items()}
    if CONFIG.runs[run].dataset.name != "cifar10":
        return {}
    full = CONFIG.runs[run].dataset.needs_full
    return {"cifar10": ancient("results/cifar10.npz" if full else str(cifar10.SUBSET))}


def dataset_of(wildcards):
    """Return the dataset of a run as input."""
    name = job_settings.dataset_name(CONFIG.runs[wildcards.run])
    return recorded(dataset=f"{RESULTS}/datasets/{name}.npz")


def start_of(wildcards):
    """Return the stores of the run from which a run starts; nothing if it starts from initial weights."""
    start = CONFIG.runs[wildcards.run].start
    if start is None:
        return {}
    return recorded(
        source_discrete=store(start.run, "discrete"),
        source_midpoint=store(start.run, "midpoint"),
    )


def drawing(slug):
    """Return the entry of the catalogue for a configured figure."""
    return CATALOGUE[CONFIG.figures[slug].draw or slug]


def figure_inputs(slug):
    """Return the stores that a figure shows as inputs, named `<run>/<store>`."""
    settings = job_settings.figure(CONFIG, slug)
    return stores_of(dict.fromkeys(settings["runs"], settings["stores"]))


def source(script, settings={}):
    """Return the digest of a job's code: of its script, and of the code that its settings refer to."""
    return source_digest(f"workflow/scripts/{script}.py", *settings.get("code", ()))


def sorted_json(value):
    """Return a value as sorted JSON, for one parameter that holds all settings of a job.

    Snakemake compares parameters as bare values, and would miss two parameters that are swapped.
    """
    return json.dumps(value, sort_keys=True)
