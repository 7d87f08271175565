"""What things are made with, as it is now: packages, numerical libraries, machine, GPU, commit. Imports no torch."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info


@cache
def software() -> dict[str, str]:
    """Versions of Python and of every installed package, by name."""
    packages = {found.name.lower().replace("_", "-"): found.version for found in metadata.distributions()}
    return packages | {"python": platform.python_version()}


def libraries() -> dict[str, Any]:
    """The numerical libraries that this process has loaded; results depend on the processor they have chosen code for."""
    loaded = [
        {key: library[key] for key in ("internal_api", "version", "architecture", "num_threads") if key in library}
        for library in threadpool_info()
    ]
    loaded.sort(key=str)
    torch = _torch()
    if torch is None:
        return {"loaded": loaded}
    built = [line.strip(" -") for line in torch.__config__.show().splitlines() if "MKL" in line or "DNN" in line][:2]
    return {"loaded": loaded, "torch": built, "instructions": torch.backends.cpu.get_cpu_capability()}


def machine() -> dict[str, Any]:
    """The computer, and the number of the cluster's job if this runs in one."""
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def gpu() -> dict[str, Any] | None:
    """The GPU that this process has used, with its driver and libraries."""
    torch = _torch()
    if torch is None or not torch.cuda.is_initialized():
        return None
    return {
        "name": torch.cuda.get_device_name(),
        "driver": _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def commit(repository: Path) -> dict[str, Any]:
    """The commit that a repository stands at, and whether its files differ from it; an unpacked archive has none."""
    git = ("git", "-C", str(repository))
    return {
        "commit": _output(*git, "rev-parse", "HEAD"),
        "dirty": bool(_output(*git, "status", "--porcelain", "--untracked-files=no")),
    }


def _torch() -> Any:
    """torch, where this process has loaded it."""
    return sys.modules.get("torch")


def processor() -> str:
    """Its name, as the system gives it."""
    names = Path("/proc/cpuinfo")  # elsewhere than on Linux platform knows better
    lines = names.read_text().splitlines() if names.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _output(*command: str) -> str | None:
    """What a command prints; None where it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
