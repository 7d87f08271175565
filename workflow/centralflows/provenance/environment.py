"""The present environment: packages, numerical libraries, machine, GPU, commit. Imports no torch."""

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
    """Return the versions of Python and of every installed package, by name."""
    packages = dict(_name_and_version(found) for found in metadata.distributions())
    return packages | {"python": platform.python_version()}


def _name_and_version(package: Any) -> tuple[str, str]:
    """Return name and version of a distribution from the head of its metadata; to parse all of it takes ten times as long.

    The backport of importlib.metadata, which some libraries import, finds distributions of a class of its own.
    """
    head = (package.read_text("METADATA") or package.read_text("PKG-INFO") or "").partition("\n\n")[0]
    fields = dict(line.split(": ", 1) for line in head.splitlines() if line.startswith(("Name: ", "Version: ")))
    return fields["Name"].lower().replace("_", "-"), fields["Version"]


def libraries() -> dict[str, Any]:
    """Return the numerical libraries that this process has loaded.

    Results depend on the processor for which a library has chosen its code.
    """
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


_NUMERICAL = (
    "ATEN_", "BLIS_", "CUBLAS_", "CUDNN_", "DNNL_", "MKL_", "NVIDIA_", "OMP_", "ONEDNN_", "OPENBLAS_", "PYTORCH_", "TORCH_",
)  # fmt: skip


def variables() -> dict[str, str]:
    """Return the environment variables that numerical libraries read: they can change the last bits of a result."""
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(_NUMERICAL)}


def machine() -> dict[str, Any]:
    """Return a description of the computer, with the number of the SLURM job if there is one."""
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def gpu() -> dict[str, Any] | None:
    """Return a description of the GPU that this process has used, with its driver and libraries; None without one."""
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
    """Return the current commit of a repository, None for an unpacked archive, and whether its files differ from it."""
    git = ("git", "-C", str(repository))
    return {
        "commit": _output(*git, "rev-parse", "HEAD"),
        "dirty": bool(_output(*git, "status", "--porcelain", "--untracked-files=no")),
    }


def _torch() -> Any:
    """Return torch if this process has loaded it, else None."""
    return sys.modules.get("torch")


def processor() -> str:
    """Return the name of the processor, as the system reports it."""
    names = Path("/proc/cpuinfo")  # exists on Linux only
    lines = names.read_text().splitlines() if names.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _output(*command: str) -> str | None:
    """Return the output of a command, or None if it does not exist or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
