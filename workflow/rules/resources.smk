"""The resources that jobs request from a scheduler, and the groups of short runs."""

import shutil
from functools import cache

from centralflows.config import job_settings
from centralflows.jobs import resources


# The limit on GPUs in profiles/default is one per machine, not for the whole cluster.
resource_scopes:
    gpu="local",


def gpus():
    """Return the number of GPUs that a trajectory job requests: 1 if it is to use a GPU, else 0."""
    wanted = CONFIG.device == "cuda" or (
        CONFIG.device == "auto" and shutil.which("nvidia-smi")
    )
    return 1 if wanted else 0


MACHINE = resources.GPU if gpus() else resources.CPU


def megabytes(wildcards, attempt):
    """Return the memory of a trajectory job [MB], doubled at each attempt, as the last one may have had too little."""
    return resources.megabytes(CONFIG.runs[wildcards.run], MACHINE) * 2 ** (attempt - 1)


def minutes(process):
    def of_run(wildcards):
        return resources.minutes(CONFIG.runs[wildcards.run], process, MACHINE)

    return of_run


def flow_minutes(wildcards):
    return minutes(wildcards.flow)(wildcards)


def group_of(wildcards):
    """Return the group of a job: `short` for all jobs of a short run, None for jobs that are submitted one by one."""
    return "short" if is_short(wildcards.run) else None


@cache
def is_short(name):
    """Return whether a run is given at most 90 minutes, and also the run from which it starts.

    Otherwise a group could wait for a job outside of it that waits for the group.
    """
    run = CONFIG.runs[name]
    needed = sum(
        resources.minutes(run, p, MACHINE) for p in job_settings.trajectory_jobs(run)
    )
    return needed <= 90 and (run.start is None or is_short(run.start.run))
