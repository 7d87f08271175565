"""Where everything comes from: digests of sources and files, seals, and the record of how a thing was made.

A *seal* is a JSON file beside a job's output. It holds the sha256 of every file of the output, one digest over them
all, and a record of how the output was made. Whoever reads the output verifies the seal first: Snakemake never looks
inside a directory, and Zarr reads a missing chunk as NaN.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from .errors import UserError

PACKAGE = Path(__file__).parent
ROOT = PACKAGE.parents[1]
_IGNORED = {".snakemake_timestamp"}  # Snakemake writes it into every directory that is an output
_SOFTWARE = (
    "snakemake",
    "torch",
    "torchdiffeq",
    "numpy",
    "scipy",
    "scikit-learn",
    "xarray",
    "zarr",
    "clarabel",
    "matplotlib",
    "seaborn",
)


class SealError(UserError, ValueError):
    """Files are not what their seal says; the message lists every finding."""


def seal_path(output: Path) -> Path:
    """The seal of an output: `x.zarr` has `x.zarr.seal.json`."""
    return output.with_name(output.name + ".seal.json")


def write_seal(seal: Path, outputs: Sequence[Path], record: dict[str, Any]) -> None:
    """Seal outputs that stand beside the seal. It appears whole or not at all.

    Raises:
        FileNotFoundError: an output is not there.
    """
    if missing := [str(output) for output in outputs if not output.exists()]:
        raise FileNotFoundError(f"nothing to seal: {', '.join(missing)}")
    names = [output.name for output in outputs]
    files = _digests(seal.parent, names)
    content = {"digest": digest(files), "files": files, "outputs": names, "made": record}
    temporary = seal.with_name(f".{seal.name}.tmp")
    temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    os.replace(temporary, seal)


def verify_seal(seal: Path) -> str:
    """The digest of outputs whose files are exactly those of their seal.

    Raises:
        SealError: the seal is missing or unreadable, or files are missing, changed or new.
    """
    try:
        content = json.loads(seal.read_text())
        expected, names = dict(content["files"]), [str(name) for name in content["outputs"]]
        if content["digest"] != digest(expected):
            raise ValueError("its digest is not that of its list of files")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SealError(f"{seal}: cannot be read ({error}); remove it and run snakemake again") from None
    found = _digests(seal.parent, names)
    findings = [f"  {name}: missing" for name in expected.keys() - found.keys()]
    findings += [f"  {name}: not in the seal" for name in found.keys() - expected.keys()]
    findings += [f"  {name}: changed" for name in expected.keys() & found.keys() if expected[name] != found[name]]
    if findings:
        cure = f"Remove {seal} and run snakemake again."
        raise SealError("\n".join([f"{seal}: files are not what it says", *sorted(findings), cure]))
    return content["digest"]


def _digests(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """sha256 of the named files, and of every file below the named directories, by path relative to the folder."""
    files: list[Path] = []
    for name in names:
        output = folder / name
        files += [output] if output.is_file() else [file for file in output.rglob("*") if file.is_file()]
    return {file.relative_to(folder).as_posix(): _sha256(file) for file in sorted(files) if file.name not in _IGNORED}


def digest(value: Any) -> str:
    """sha256 of the sorted JSON of a value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@cache
def source_digest(*scripts: str) -> str:
    """Digest of scripts and of all modules of this package that they import, directly or not.

    Syntax trees without docstrings, written back as source, are digested, so
    that a change of mathematics changes it and a change of prose or
    layout does not. An `__init__` that runs on the way counts; names that it loads lazily do not, so scripts import from
    modules.

    Args:
        scripts: paths relative to the repository.
    """
    pending, trees = [ROOT / script for script in scripts], {}
    while pending:
        file = pending.pop()
        if file in trees:
            continue
        tree = ast.parse(file.read_text())
        pending.extend(_imported(tree, file))
        trees[file] = ast.unparse(without_docstrings(tree))
    return digest({file.relative_to(ROOT).as_posix(): tree for file, tree in trees.items()})


def record(**more: Any) -> dict[str, Any]:
    """How something is made now: software, machine, commit; what is not deterministic stands here and nowhere else."""
    return {
        "software": {name: _version(name) for name in _SOFTWARE} | {"python": platform.python_version()},
        "lock": _sha256(ROOT / "envs" / "requirements.lock"),
        "machine": {"host": platform.node(), "system": platform.platform(), "processor": platform.machine()},
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        **more,
    }


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None  # an unpacked archive has no commit
    return done.stdout.strip()


def _imported(tree: ast.Module, file: Path) -> list[Path]:
    """Files of this package that a module imports (anywhere in it: imports inside functions count)."""
    found: set[Path] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                base = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            elif (node.module or "").split(".")[0] == PACKAGE.name:
                base = PACKAGE.joinpath(*node.module.split(".")[1:])
            else:
                continue
            found.update(_module_files(base))
            for alias in node.names:
                found.update(_module_files(base / alias.name))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == PACKAGE.name:
                    found.update(_module_files(PACKAGE.joinpath(*alias.name.split(".")[1:])))
    return sorted(found)


def _module_files(base: Path) -> list[Path]:
    """The file of a module, and those of the packages around it, as they run first."""
    files = [base.with_suffix(".py"), base / "__init__.py"]
    if any(file.is_file() for file in files):
        files += [folder / "__init__.py" for folder in base.parents if folder.is_relative_to(PACKAGE)]
    return [file for file in files if file.is_file()]


def without_docstrings(tree: ast.Module) -> ast.Module:
    """The tree itself, cleared of them."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body = [
                statement
                for statement in node.body
                if not (
                    isinstance(statement, ast.Expr)
                    and isinstance(statement.value, ast.Constant)
                    and isinstance(statement.value.value, str)
                )
            ]
    return tree
