"""The validated configuration. Its mistakes are reported before any job starts."""

import os
from pathlib import Path

from snakemake.exceptions import WorkflowError

from centralflows.common.errors import UserError
from centralflows.config import messages, profile, yaml_file
from centralflows.problems.data import sst2

READ_FROM = ", ".join(map(str, workflow.configfiles)) or "the configuration"

try:
    # Snakemake has read the files, but accepts more than this project: of two equal keys it takes the last.
    if workflow.is_main_process:
        for file in workflow.configfiles:
            yaml_file.read(file)
    CONFIG = profile.load(config, source=READ_FROM)
    # Plugins are built once, before any job. The processes of jobs read this file too, and build what they need.
    if workflow.is_main_process and any(run.plugins for run in CONFIG.runs.values()):
        from centralflows.jobs.plugin_checks import mistakes  # loads torch

        if wrong := mistakes(CONFIG.runs):
            raise messages.report(READ_FROM, wrong)
except messages.ConfigError as error:
    raise WorkflowError(str(error)) from None

if CONFIG.cifar10_path and not os.path.exists(os.path.expanduser(CONFIG.cifar10_path)):
    raise WorkflowError(f"cifar10_path: there is no {CONFIG.cifar10_path}")


def sst2_files(run):
    """Return the user's SST-2 files. Raises before any job starts if one is missing."""
    try:
        return sst2.files(CONFIG.runs[run].dataset.path)
    except UserError as error:
        raise WorkflowError(f"runs.{run}.dataset.path: {error}") from None


SST2 = {
    name: sst2_files(name)
    for name, run in CONFIG.runs.items()
    if run.dataset.name == "sst2"
}


def configfile_name():
    """Return the path of the configuration file, relative to the current folder if it is inside."""
    path = Path(workflow.configfiles[0]).resolve()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
