"""What jobs ask of a scheduler, and which of them are too short for one."""

import shutil
from functools import cache

from centralflows.config import resources


# What profiles/default says of GPUs holds for each machine, not for all that a cluster has.
resource_scopes:
    gpu="local",


def gpus():
    """GPUs that a trajectory job takes: one where there is one to take."""
    wanted = CONFIG.device == "cuda" or (
        CONFIG.device == "auto" and shutil.which("nvidia-smi")
    )
    return 1 if wanted else 0


MACHINE = resources.GPU if gpus() else resources.CPU


def megabytes(wildcards, attempt):
    """Memory, twice as much at each attempt: the last one may have had too little."""
    return resources.megabytes(CONFIG.runs[wildcards.run], MACHINE) * 2 ** (attempt - 1)


def minutes(process):
    def of_run(wildcards):
        return resources.minutes(CONFIG.runs[wildcards.run], process, MACHINE)

    return of_run


def flow_minutes(wildcards):
    return minutes(wildcards.flow)(wildcards)


def group_of(wildcards):
    """Short runs are submitted together, each with all of its trajectories; long jobs on their own."""
    return "short" if is_short(wildcards.run) else None


@cache
def is_short(name):
    """Whether a run is given no more than 90 minutes. One that starts from another needs that to be short too: a group never waits for
    a job outside of it that waits for the group."""
    run = CONFIG.runs[name]
    needed = sum(resources.minutes(run, p, MACHINE) for p in resources.jobs(run))
    return needed <= 90 and (run.start is None or is_short(run.start.run))
