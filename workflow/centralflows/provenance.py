"""Where everything comes from: digests of sources and files, seals, and the record of how a thing was made.

A *seal* is a JSON file beside a job's output. It holds the sha256 of every file of the output, one digest over them
all, a record of how the output was made, and its own digest, by which the records of what is made from the output name
it. Whoever reads the output verifies the seal first: Snakemake never looks inside a directory, and Zarr reads a missing
chunk as NaN.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from . import environment
from .errors import UserError

PACKAGE = Path(__file__).parent
ROOT = PACKAGE.parents[1]
CALL = "CENTRALFLOWS_CALL"  # environment variable by which jobs know how snakemake was called: JSON, for their records
_IGNORED = {".snakemake_timestamp"}  # Snakemake writes it into every directory that is an output


class SealError(UserError, ValueError):
    """Files are not what their seal says; the message lists every finding."""


def seal_path(output: Path) -> Path:
    """The seal of an output: `x.zarr` has `x.zarr.seal.json`."""
    return output.with_name(output.name + ".seal.json")


class Seal(NamedTuple):
    """What a seal says.

    Attributes:
        path: its own file.
        digest: one digest over all files of the outputs.
        files: sha256 of each, by path relative to the seal's folder.
        outputs: names of the outputs, which stand beside the seal.
        made: the record of how they were made.
        identity: digest of all the above but the path: whatever is edited in the seal, it is another one.
    """

    path: Path
    digest: str
    files: dict[str, str]
    outputs: list[str]
    made: dict[str, Any]
    identity: str

    def findings(self) -> list[str]:
        """How the files differ from what the seal says; nothing where all is well."""
        found, expected = _digests(self.path.parent, self.outputs), self.files
        listed = [f"{name}: missing" for name in expected.keys() - found.keys()]
        listed += [f"{name}: not in the seal" for name in found.keys() - expected.keys()]
        listed += [f"{name}: changed" for name in expected.keys() & found.keys() if expected[name] != found[name]]
        return sorted(listed)


def write_seal(seal: Path, outputs: Sequence[Path], record: Mapping[str, Any]) -> None:
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
    temporary.write_text(_text(content | {"identity": digest(content)}))
    os.replace(temporary, seal)


def read_seal(path: Path) -> Seal:
    """A seal that is, byte for byte, as it was written.

    Raises:
        SealError: it is missing, unreadable or edited.
    """
    try:
        text = path.read_text()
        content = json.loads(text)
        seal = Seal(path, **content)
        unsigned = {key: value for key, value in content.items() if key != "identity"}
        if seal.digest != digest(seal.files) or seal.identity != digest(unsigned) or text != _text(content):
            raise ValueError("edited: its digests are not those of its content")
    except FileNotFoundError:
        raise SealError(f"{path}: is missing; run snakemake again") from None
    except (OSError, ValueError, TypeError) as error:
        raise SealError(f"{path}: cannot be read ({error}); remove it and run snakemake again") from None
    return seal


def verify_seal(path: Path) -> Seal:
    """The seal of outputs whose files are exactly those that it lists.

    Raises:
        SealError: the seal is missing or unreadable, or files are missing, changed or new.
    """
    seal = read_seal(path)
    if findings := seal.findings():
        listed = [f"  {finding}" for finding in findings]
        cure = f"Remove {path} and run snakemake again."
        raise SealError("\n".join([f"{path}: files are not what it says", *listed, cure]))
    return seal


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def _digests(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """sha256 of the named files, and of every file below the named directories, by path relative to the folder."""
    files: list[Path] = []
    for name in names:
        output = folder / name
        files += [output] if output.is_file() else [file for file in output.rglob("*") if file.is_file()]
    return {file.relative_to(folder).as_posix(): sha256(file) for file in sorted(files) if file.name not in _IGNORED}


def digest(value: Any) -> str:
    """sha256 of the sorted JSON of a value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def source_digest(*scripts: str) -> str:
    """Digest of scripts and of all modules of this package that they import, directly or not.

    It changes with the mathematics, and not with prose or layout.

    Args:
        scripts: paths relative to the repository.
    """
    return digest(module_digests(*scripts))


@cache
def module_digests(*scripts: str) -> dict[str, str]:
    """Digests of scripts and of the modules that they import, by path relative to the repository.

    Syntax trees without docstrings, written back as source, are digested. An `__init__` that runs on the way counts;
    names that it loads lazily do not, so scripts import from modules.
    """
    pending, digests = [ROOT / script for script in scripts], {}
    while pending:
        file = pending.pop()
        name = file.relative_to(ROOT).as_posix()
        if name in digests:
            continue
        tree = ast.parse(file.read_text())
        pending.extend(_imported(tree, file))
        digests[name] = digest(ast.unparse(without_docstrings(tree)))
    return digests


def script_of(rule: str) -> str:
    """The script of a rule; rules with one figure each, `figure_gd_eos`, share one."""
    return f"workflow/scripts/{rule.partition('_')[0]}.py"


def identifier(config: Any, source: str, inputs: Mapping[str, str]) -> str:
    """What identifies a thing made from inputs of these digests by this code, whenever and wherever that was."""
    return digest({"config": config, "source_digest": source, "inputs": dict(inputs)})


def portable(path: Path) -> str:
    """A path relative to the repository where it lies inside it, so that it is found in another copy."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def record(**more: Any) -> dict[str, Any]:
    """How something is made now: software, machine, code; what is not deterministic stands here and nowhere else."""
    return {
        "software": environment.software(),
        "libraries": environment.libraries(),
        "lock": lock_digest(),
        "machine": environment.machine(),
        "gpu": environment.gpu(),
        **environment.commit(ROOT),
        **more,
    }


def lock_digest() -> str:
    """sha256 of the file that pins all software."""
    return sha256(ROOT / "envs" / "requirements.lock")


def sha256(file: Path) -> str:
    """sha256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
