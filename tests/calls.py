"""The workflow as tests call it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / "config" / "smoke.yaml"


def snakemake(
    folder: Path, *arguments: str, config: Path = SMOKE, targets: Sequence[str] = ()
) -> subprocess.CompletedProcess:
    """A `snakemake` call in a folder of its own."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    command += [*targets, "--cores", "2", "--configfile", str(config), *arguments]
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONHASHSEED": "random",
    }
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
