"""What a trajectory job has committed, as it lies in its staging folder: read, and held against its digests.

Imports no torch, so that commands may look at work in progress.
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
DONE = ".done"  # suffix of a staging folder whose outputs are there


class Damaged(ValueError):
    """Something in a staging folder is not what was committed."""


class Checkpoint(NamedTuple):
    """What `progress.json` says.

    Attributes:
        step: steps that are done.
        content: what to go on from, its arrays apart.
        arrays: the file of these, named by its sha256.
        files: sha256 of all others that count, by path.
    """

    step: int
    content: Any
    arrays: str
    files: dict[str, str]

    def text(self) -> bytes:
        """What is written of it."""
        progress = self._asdict()
        return json.dumps({"digest": digest(progress), "progress": progress}).encode()

    def findings(self, folder: Path) -> list[str]:
        """How a folder differs from what was committed in it; files that were not are no finding."""
        expected = self.files | {self.arrays: self.arrays.removeprefix("content-").removesuffix(".npz")}
        missing = {path for path in expected if not (folder / path).is_file()}
        changed = {path for path in expected.keys() - missing if sha256(folder / path) != expected[path]}
        return sorted([f"{path}: missing" for path in missing] + [f"{path}: changed" for path in changed])


def read_commit(folder: Path) -> Checkpoint | None:
    """What was committed in a folder, None if nothing was yet.

    Raises:
        Damaged: what says so is not, byte for byte, what was written.
    """
    try:
        data = (folder / PROGRESS).read_bytes()
    except FileNotFoundError:
        return None
    try:
        commit = Checkpoint(**json.loads(data)["progress"])
        whole = commit.text() == data
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{PROGRESS}: changed ({error})") from None
    if not whole:
        raise Damaged(f"{PROGRESS}: changed")
    return commit


def findings(folder: Path) -> list[str]:
    """Everything in a staging folder that is not as it was committed."""
    try:
        commit = read_commit(folder)
    except Damaged as error:
        return [str(error)]
    return commit.findings(folder) if commit else []


def forget(output: Path) -> None:
    """Remove what an output was made in, now that Snakemake knows that it is there."""
    for folder in output.parent.glob(f".{output.name}-*{DONE}"):
        gone = folder.with_suffix(".gone")  # half removed, it would look damaged
        with suppress(FileNotFoundError):  # others may do the same
            os.rename(folder, gone)
    for gone in output.parent.glob(f".{output.name}-*.gone"):
        shutil.rmtree(gone, ignore_errors=True)
