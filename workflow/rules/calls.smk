"""Keeps this call of the workflow apart from others, and tells its jobs how it was called."""

import atexit
import shlex
import sys
import time
from contextlib import ExitStack

from snakemake.exceptions import WorkflowError

from centralflows.jobs import concurrent_calls
from centralflows.jobs.checkpoint_contents import forget
from centralflows.common.errors import UserError
from centralflows.provenance.manifest import CALL

BEGAN = time.time()
HELD = ExitStack()  # locks of this call, held until it ends
atexit.register(HELD.close)

if workflow.is_main_process:
    # Locks of a dead Snakemake are removed, so that the same command continues after a crash.
    HELD.enter_context(concurrent_calls.attend(Path(".snakemake")))
    os.environ[CALL] = sorted_json(
        {
            "command": shlex.join(["snakemake", *sys.argv[1:]]),
            "configfile": str(configfile_name()),
        }
    )


onstart:
    outputs = {
        str(file) for job in workflow.dag.needrun_jobs() for file in job.output
    }
    try:
        HELD.enter_context(
            concurrent_calls.announce(Path(RESULTS, ".calls"), outputs, since=BEGAN)
        )
    except (UserError, OSError) as error:
        raise WorkflowError(f"{type(error).__name__}: {error}") from None


onsuccess:
    for job in workflow.dag.jobs:
        for file in job.output:
            forget(Path(file))
