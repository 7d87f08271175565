"""Write the full CIFAR-10 as one npz file, from the configured copy or else the first source that works."""

import sys
from pathlib import Path

from centralflows.common.errors import UserError
from centralflows.problems.data.cifar10_sources import obtain

with open(snakemake.log[0], "w", buffering=1) as log:
    # Not a parameter: the file has the same bytes from every source, so another path is no reason to make it again.
    path = snakemake.config.get("cifar10_path")
    try:
        obtain(Path(snakemake.output[0]), path=path and Path(path), report=lambda line: print(line, file=log))
    except (UserError, OSError) as error:  # what a user can mend; anything else is a bug and keeps its traceback
        for stream in (log, sys.stderr):
            print(f"{type(error).__name__}: {error}", file=stream)
        sys.exit(1)
