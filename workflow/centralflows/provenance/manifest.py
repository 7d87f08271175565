"""Manifests: the digests of an output's files, and the record of how the output was made.

A *manifest* is a JSON file beside a job's output. It holds the sha256 of every file of the output, one digest over all
of them, a record of how the output was made, and a digest of itself. Records of dependent outputs refer to it by this
digest. Every job verifies the manifests of its inputs first, because Snakemake never looks inside a directory, and
Zarr reads a missing chunk as NaN.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from ..common.errors import UserError
from ..common.hashing import digest, sha256
from ..common.paths import REPOSITORY
from . import environment

CALL = "CENTRALFLOWS_CALL"  # environment variable that gives jobs the call of snakemake for their records, as JSON
_IGNORED = {".snakemake_timestamp"}  # Snakemake writes it into every output directory


class ManifestError(UserError, ValueError):
    """Files that differ from their manifest; the message lists every finding."""


def manifest_path(output: Path) -> Path:
    """Return the path of the manifest of an output: `x.zarr.manifest.json` for `x.zarr`."""
    return output.with_name(output.name + ".manifest.json")


class Manifest(NamedTuple):
    """The content of a manifest.

    Attributes:
        path: file of the manifest.
        digest: one digest over all files of the outputs.
        files: sha256 of each file, by path relative to the manifest's folder.
        outputs: names of the outputs, which are beside the manifest.
        made: record of how the outputs were made.
        identity: digest of all the above except the path; any edit of the manifest changes it.
    """

    path: Path
    digest: str
    files: dict[str, str]
    outputs: list[str]
    made: dict[str, Any]
    identity: str

    def findings(self) -> list[str]:
        """Return the differences between the files and the manifest."""
        found, expected = _digests(self.path.parent, self.outputs), self.files
        listed = [f"{name}: missing" for name in expected.keys() - found.keys()]
        listed += [f"{name}: not in the manifest" for name in found.keys() - expected.keys()]
        listed += [f"{name}: changed" for name in expected.keys() & found.keys() if expected[name] != found[name]]
        return sorted(listed)


def write_manifest(manifest: Path, outputs: Sequence[Path], record: Mapping[str, Any]) -> None:
    """Write the manifest of outputs in its folder, atomically.

    Raises:
        FileNotFoundError: an output is missing.
    """
    if missing := [str(output) for output in outputs if not output.exists()]:
        raise FileNotFoundError(f"no such output: {', '.join(missing)}")
    names = [output.name for output in outputs]
    files = _digests(manifest.parent, names)
    content = {"digest": digest(files), "files": files, "outputs": names, "made": record}
    temporary = manifest.with_name(f".{manifest.name}.tmp")
    temporary.write_text(_text(content | {"identity": digest(content)}))
    os.replace(temporary, manifest)


def read_manifest(path: Path) -> Manifest:
    """Return a manifest after a check that it is byte for byte as it was written.

    Raises:
        ManifestError: the manifest is missing, unreadable or edited.
    """
    try:
        text = path.read_text()
        content = json.loads(text)
        manifest = Manifest(path, **content)
        unsigned = {key: value for key, value in content.items() if key != "identity"}
        if manifest.digest != digest(manifest.files) or manifest.identity != digest(unsigned) or text != _text(content):
            raise ValueError("edited: its digests are not those of its content")
    except FileNotFoundError:
        raise ManifestError(f"{path}: is missing; run snakemake again") from None
    except (OSError, ValueError, TypeError) as error:
        raise ManifestError(f"{path}: cannot be read ({error}); remove it and run snakemake again") from None
    return manifest


def verify_manifest(path: Path) -> Manifest:
    """Return a manifest after a check that the files of its outputs are exactly those that it lists.

    Raises:
        ManifestError: the manifest is missing or unreadable, or files are missing, changed or new.
    """
    manifest = read_manifest(path)
    if findings := manifest.findings():
        listed = [f"  {finding}" for finding in findings]
        cure = f"Remove {path} and run snakemake again."
        raise ManifestError("\n".join([f"{path}: files are not what it says", *listed, cure]))
    return manifest


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def _digests(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the sha256 of the named files and of all files in the named directories, by path relative to `folder`."""
    files: list[Path] = []
    for name in names:
        output = folder / name
        files += [output] if output.is_file() else [file for file in output.rglob("*") if file.is_file()]
    return {file.relative_to(folder).as_posix(): sha256(file) for file in sorted(files) if file.name not in _IGNORED}


def script_of(rule: str) -> str:
    """Return the path of a rule's script; the rules of single figures, such as `figure_gd_eos`, share one."""
    return f"workflow/scripts/{rule.partition('_')[0]}.py"


def identifier(config: Any, source: str, inputs: Mapping[str, str]) -> str:
    """Return the identifier of an output of these settings, code and inputs, independent of time and machine."""
    return digest({"config": config, "source_digest": source, "inputs": dict(inputs)})


def portable(path: Path) -> str:
    """Return a path as text, relative to the repository if inside it, so that it is valid in another copy."""
    return str(path.relative_to(REPOSITORY) if path.is_relative_to(REPOSITORY) else path)


def record(**more: Any) -> dict[str, Any]:
    """Return a record of how an output is made now: software, machine, code, and `more`.

    All that is not deterministic is in this record only.
    """
    return {
        "software": environment.software(),
        "libraries": environment.libraries(),
        "variables": environment.variables(),
        "lock": lock_digest(),
        "machine": environment.machine(),
        "gpu": environment.gpu(),
        **environment.commit(REPOSITORY),
        **more,
    }


def lock_digest() -> str:
    """Return the sha256 of the file that pins all software."""
    with resources.as_file(resources.files(__package__) / "requirements.lock") as lock:  # a link to envs/
        return sha256(lock)
