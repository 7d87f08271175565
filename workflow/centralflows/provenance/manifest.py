"""Where everything comes from: digests of sources and files, manifests, and the record of how a thing was made.

A *manifest* is a JSON file beside a job's output. It holds the sha256 of every file of the output, one digest over them
all, a record of how the output was made, and its own digest, by which the records of what is made from the output name
it. Whoever reads the output verifies the manifest first: Snakemake never looks inside a directory, and Zarr reads a missing
chunk as NaN.
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

CALL = "CENTRALFLOWS_CALL"  # environment variable by which jobs know how snakemake was called: JSON, for their records
_IGNORED = {".snakemake_timestamp"}  # Snakemake writes it into every directory that is an output


class ManifestError(UserError, ValueError):
    """Files are not what their manifest says; the message lists every finding."""


def manifest_path(output: Path) -> Path:
    """The manifest of an output: `x.zarr` has `x.zarr.manifest.json`."""
    return output.with_name(output.name + ".manifest.json")


class Manifest(NamedTuple):
    """What a manifest says.

    Attributes:
        path: its own file.
        digest: one digest over all files of the outputs.
        files: sha256 of each, by path relative to the manifest's folder.
        outputs: names of the outputs, which stand beside the manifest.
        made: the record of how they were made.
        identity: digest of all the above but the path: whatever is edited in the manifest, it is another one.
    """

    path: Path
    digest: str
    files: dict[str, str]
    outputs: list[str]
    made: dict[str, Any]
    identity: str

    def findings(self) -> list[str]:
        """How the files differ from what the manifest says; nothing where all is well."""
        found, expected = _digests(self.path.parent, self.outputs), self.files
        listed = [f"{name}: missing" for name in expected.keys() - found.keys()]
        listed += [f"{name}: not in the manifest" for name in found.keys() - expected.keys()]
        listed += [f"{name}: changed" for name in expected.keys() & found.keys() if expected[name] != found[name]]
        return sorted(listed)


def write_manifest(manifest: Path, outputs: Sequence[Path], record: Mapping[str, Any]) -> None:
    """Manifest outputs that stand beside the manifest. It appears whole or not at all.

    Raises:
        FileNotFoundError: an output is not there.
    """
    if missing := [str(output) for output in outputs if not output.exists()]:
        raise FileNotFoundError(f"nothing to manifest: {', '.join(missing)}")
    names = [output.name for output in outputs]
    files = _digests(manifest.parent, names)
    content = {"digest": digest(files), "files": files, "outputs": names, "made": record}
    temporary = manifest.with_name(f".{manifest.name}.tmp")
    temporary.write_text(_text(content | {"identity": digest(content)}))
    os.replace(temporary, manifest)


def read_manifest(path: Path) -> Manifest:
    """A manifest that is, byte for byte, as it was written.

    Raises:
        ManifestError: it is missing, unreadable or edited.
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
    """The manifest of outputs whose files are exactly those that it lists.

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
    """sha256 of the named files, and of every file below the named directories, by path relative to the folder."""
    files: list[Path] = []
    for name in names:
        output = folder / name
        files += [output] if output.is_file() else [file for file in output.rglob("*") if file.is_file()]
    return {file.relative_to(folder).as_posix(): sha256(file) for file in sorted(files) if file.name not in _IGNORED}


def script_of(rule: str) -> str:
    """The script of a rule; rules with one figure each, `figure_gd_eos`, share one."""
    return f"workflow/scripts/{rule.partition('_')[0]}.py"


def identifier(config: Any, source: str, inputs: Mapping[str, str]) -> str:
    """What identifies a thing made from inputs of these digests by this code, whenever and wherever that was."""
    return digest({"config": config, "source_digest": source, "inputs": dict(inputs)})


def portable(path: Path) -> str:
    """A path relative to the repository where it lies inside it, so that it is found in another copy."""
    return str(path.relative_to(REPOSITORY) if path.is_relative_to(REPOSITORY) else path)


def record(**more: Any) -> dict[str, Any]:
    """How something is made now: software, machine, code; what is not deterministic stands here and nowhere else."""
    return {
        "software": environment.software(),
        "libraries": environment.libraries(),
        "lock": lock_digest(),
        "machine": environment.machine(),
        "gpu": environment.gpu(),
        **environment.commit(REPOSITORY),
        **more,
    }


def lock_digest() -> str:
    """sha256 of the file that pins all software."""
    with resources.as_file(resources.files(__package__) / "requirements.lock") as lock:  # a link to envs/
        return sha256(lock)
