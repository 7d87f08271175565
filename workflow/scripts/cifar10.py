"""Obtain the full CIFAR-10 as one npz: the configured copy if there is one, else the first source that works."""

import sys
from pathlib import Path

from centralflows.data.cifar10_sources import obtain

job = snakemake  # noqa: F821 (Snakemake defines it)

with open(job.log[0], "w", buffering=1) as log:
    path = None if job.params.path is None else Path(job.params.path)
    try:
        obtain(Path(job.output[0]), path=path, report=lambda line: print(line, file=log))
    except (OSError, ValueError) as error:  # what a user can mend; anything else is a bug and keeps its traceback
        for stream in (log, sys.stderr):
            print(f"{type(error).__name__}: {error}", file=stream)
        sys.exit(1)
