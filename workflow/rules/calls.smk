"""This call of the workflow among others, and what its jobs record of it."""

import shlex
import sys
import time

from snakemake.exceptions import WorkflowError

from centralflows import calls
from centralflows.errors import UserError
from centralflows.provenance import CALL

BEGAN = time.time()
HELD = []  # locks, for as long as this call lives

if workflow.is_main_process:
    # After a crash the same command continues: locks of a Snakemake that is dead do not count.
    HELD.append(calls.attend(Path(".snakemake")))
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
        HELD.append(calls.announce(Path(RESULTS, ".calls"), outputs, since=BEGAN))
    except UserError as error:
        raise WorkflowError(str(error)) from None
