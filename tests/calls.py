"""The workflow as tests call it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / "config" / "smoke.yaml"


def command(folder: Path, *arguments: str, config: Path = SMOKE, targets: Sequence[str] = ()) -> list[str]:
    """A `snakemake` call in a folder of its own."""
    called = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    return [*called, *targets, "--cores", "2", "--configfile", str(config), *arguments]


def products(folder: Path) -> dict[str, bytes]:
    """Stores, figures and pages in a folder, by path, without what is said to differ: manifests, Snakemake's time stamps."""
    kinds = ("*.[sp][vn]g", "*.html", "*.md")
    found = [
        *(folder / "results").rglob("*.zarr/**/*"),
        *(p for kind in kinds for p in (folder / "figures").rglob(kind)),
    ]
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in found
        if file.is_file() and file.name != ".snakemake_timestamp"
    }


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONHASHSEED": "random"}


def snakemake(
    folder: Path, *arguments: str, config: Path = SMOKE, targets: Sequence[str] = ()
) -> subprocess.CompletedProcess:
    """Such a call, made."""
    called = command(folder, *arguments, config=config, targets=targets)
    return subprocess.run(called, env=environment(), capture_output=True, text=True, check=False, cwd=ROOT)
