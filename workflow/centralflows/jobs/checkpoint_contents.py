"""Content of the checkpoint folder of a trajectory job: how it is read, verified and removed.

Imports no torch, so that commands can inspect running jobs.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ..common.hashing import digest, sha256

PROGRESS = "progress.json"
DONE = ".done"  # suffix of a checkpoint folder whose outputs are complete


class Damaged(ValueError):
    """A checkpoint folder that differs from its checkpoint."""


class Checkpoint(NamedTuple):
    """The content of `progress.json`.

    Attributes:
        step: number of finished steps.
        content: state to resume from, without its arrays.
        arrays: file with these arrays, named by its sha256.
        files: sha256 of all other files of the checkpoint, by path.
    """

    step: int
    content: Any
    arrays: str
    files: dict[str, str]

    def text(self) -> bytes:
        """Return the bytes of `progress.json`."""
        progress = self._asdict()
        return json.dumps({"digest": digest(progress), "progress": progress}).encode()

    def findings(self, folder: Path) -> list[str]:
        """Return the differences between a folder and its checkpoint; files outside of the checkpoint are ignored."""
        expected = self.files | {self.arrays: self.arrays.removeprefix("content-").removesuffix(".npz")}
        missing = {path for path in expected if not (folder / path).is_file()}
        changed = {path for path in expected.keys() - missing if sha256(folder / path) != expected[path]}
        return sorted([f"{path}: missing" for path in missing] + [f"{path}: changed" for path in changed])


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the checkpoint in a folder, or None if there is none yet.

    Raises:
        Damaged: `progress.json` is not byte for byte as it was written.
    """
    try:
        data = (folder / PROGRESS).read_bytes()
    except FileNotFoundError:
        return None
    try:
        checkpoint = Checkpoint(**json.loads(data)["progress"])
        whole = checkpoint.text() == data
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{PROGRESS}: changed ({error})") from None
    if not whole:
        raise Damaged(f"{PROGRESS}: changed")
    return checkpoint


def findings(folder: Path) -> list[str]:
    """Return all differences between a checkpoint folder and its checkpoint."""
    try:
        checkpoint = read_checkpoint(folder)
    except Damaged as error:
        return [str(error)]
    return checkpoint.findings(folder) if checkpoint else []


def forget(output: Path) -> None:
    """Remove the checkpoint folder of an output that Snakemake knows to be complete."""
    for folder in output.parent.glob(f".{output.name}-*{DONE}"):
        gone = folder.with_suffix(".gone")  # a half-removed folder would look damaged
        with suppress(FileNotFoundError):  # another process may have renamed it
            os.rename(folder, gone)
    for gone in output.parent.glob(f".{output.name}-*.gone"):
        shutil.rmtree(gone, ignore_errors=True)
