"""The workflow, called with a profile for clusters."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]

# Two short runs, one of which starts from the other: they make one group. A flow of a long one: jobs of their own.
TARGETS = (
    "figure_scalar_rmsprop_lr_acceleration",
    "results/smoke/scalar-ablation/ablated.zarr",
    "results/smoke/rmsprop/stable.zarr",
)


def start(
    python: Path, folder: Path, profile: str, *options: str, targets: Sequence[str] = TARGETS
) -> subprocess.Popen:
    """`snakemake --profile`, for targets of the smoke profile, on a machine that seems to have a GPU."""
    seeming = folder / "bin" / "nvidia-smi"
    seeming.parent.mkdir()
    seeming.write_text("#!/bin/sh\n")
    seeming.chmod(0o755)
    smoke = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())
    config = folder / "smoke.yaml"
    config.write_text(yaml.safe_dump(smoke | {"device": "auto"}))
    command = [python, "-m", "snakemake", *targets, "--snakefile", ROOT / "Snakefile", "--directory", folder]
    command += ["--profile", ROOT / "profiles" / profile, "--configfile", config, *options]
    environment = os.environ | {"PATH": f"{seeming.parent}:{python.parent}:{os.environ['PATH']}"}
    with (folder / "snakemake.out").open("w") as out:
        return subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT)


def said(folder: Path) -> str:
    return (folder / "snakemake.out").read_text()


def wait_for(ready: Callable[[], bool], process: subprocess.Popen, seconds: float = 300) -> None:
    """Wait for something to happen while a call runs."""
    end = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, f"the call ended first, with status {process.returncode}"
        assert time.monotonic() < end, f"it did not happen within {seconds} s"
        time.sleep(0.2)
