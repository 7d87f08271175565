"""Paths in a crate. The crate's root is `results/<profile>/`, which has the stores; all else is copied to `COPIES`."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from ...common.paths import REPOSITORY
from ..lineage import Link

COPIES = "ro_crate"  # no run can have this name
SOURCE = f"{COPIES}/source"
FIGURES = f"{COPIES}/figures"
_COPIED = ("Snakefile", "CITATION.cff", "LICENSE", "pyproject.toml", "config", "envs", "profiles", "workflow")
_MADE = shutil.ignore_patterns("__pycache__", "*.egg-info")


def is_drawn(link: Link) -> bool:
    """Return whether a link is a figure, or the page of all figures."""
    return link.name.startswith("figures/")


def place(link: Link, output: str, profile: str) -> str:
    """Return the path of an output in the crate of its profile."""
    if is_drawn(link):
        return f"{FIGURES}/{output}"
    return (Path(link.name).relative_to("results", profile).parent / output).as_posix()


def copy(links: Sequence[Link], root: Path, configfile: Path) -> None:
    """Copy figures, and the workflow with the configuration in use, into a crate."""
    (root / FIGURES).mkdir(parents=True)
    for link in filter(is_drawn, links):
        for output in link.manifest.outputs:
            shutil.copy(link.manifest.path.with_name(output), root / FIGURES)
    (root / SOURCE).mkdir()
    for name in _COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, root / SOURCE / name, ignore=_MADE)
        else:
            shutil.copy(source, root / SOURCE)
    if not (root / SOURCE / "config" / configfile.name).exists():
        shutil.copy(configfile, root / SOURCE / "config")
