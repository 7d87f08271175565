"""The folder in which a job works until its outputs are complete, and from which it resumes after it was killed.

The folder is beside the output and is not declared to Snakemake, which would empty it. Its name contains a digest of
settings, code, inputs, device, versions and variables, so that a job never resumes from another configuration or
source. `progress.json` lists the files of the checkpoint. It is replaced by one rename after these files are on disk;
files that it does not list are ignored.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ..common.hashing import digest, sha256
from .checkpoint_contents import DONE, PROGRESS, Checkpoint, Damaged, forget, read_checkpoint
from .packing import packed, unpacked

STEPS = 256  # between two checkpoints: the most that a killed job repeats
SECONDS = 60.0  # between two checkpoints, if that is sooner


class CheckpointFolder:
    """A context with a folder to work in.

    An exit without an error sets the folder aside until `checkpoint_contents.forget`. If the job is killed before Snakemake
    knows that the outputs are complete, Snakemake removes them, and the next job resumes from the last checkpoint. Only
    one process at a time may use the folder (`lock`).

    Args:
        target: the output.
        key: everything that the output depends on.
        kinds: types of named tuples that a checkpoint may contain.
        log: file for messages about the resumed checkpoint.

    Attributes:
        folder: the folder to work in.
        content: content of the resumed checkpoint; None at a fresh start.
        step: step of the last checkpoint; 0 at a fresh start.
        resumed: step of the resumed checkpoint; 0 at a fresh start.
    """

    def __init__(self, target: Path, key: Any, kinds: Iterable[type] = (), log: TextIO | None = None):
        self.target, self.kinds, self.log = target, tuple(kinds), log
        self.folder = target.with_name(f".{target.name}-{digest(key)[:16]}.partial")
        self.content, self.step, self.resumed = None, 0, 0
        self._known, self._saved = {}, time.monotonic()

    def __enter__(self) -> CheckpointFolder:
        for other in sorted(self.target.parent.glob(f".{self.target.name}-*.partial")):
            if other != self.folder:
                print(f"ignored, as it belongs to another configuration or source: {other}", file=self.log)
        aside = self.folder.with_suffix(DONE)
        if aside.exists() and not self.folder.exists():
            os.rename(aside, self.folder)
        forget(self.target)
        self._take_up()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            os.rename(self.folder, self.folder.with_suffix(DONE))

    def due(self, step: int) -> bool:
        """Return whether a checkpoint is due."""
        return step - self.step >= STEPS or time.monotonic() - self._saved >= SECONDS

    def save(self, step: int, content: Any) -> None:
        """Write a checkpoint of the state to resume from and of the files in the folder, which must not change then."""
        arrays: list[np.ndarray] = []
        packing, stream = packed(content, arrays), io.BytesIO()
        np.savez(stream, *arrays)
        name = f"content-{hashlib.sha256(stream.getbuffer()).hexdigest()}.npz"
        _write(self.folder / name, stream.getbuffer())
        files = {path: self._digest(path) for path in self._files() if not path.startswith("content-")}
        _write(self.folder / PROGRESS, Checkpoint(step, packing, name, files).text())
        for old in self.folder.glob("content-*"):
            if old.name != name:
                old.unlink()
        self.step, self._saved = step, time.monotonic()

    def renew(self) -> None:
        """Forget what the files held: all of them will be written anew."""
        self._known = {}

    def _take_up(self) -> None:
        """Read the checkpoint and remove all other files."""
        try:
            found = self._read()
        except (OSError, ValueError, KeyError, TypeError) as error:
            warnings.warn(f"{self.folder}: damaged, so the run starts again ({error})", stacklevel=3)
            found = None
        if found is None:
            self._known = {}
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            return
        self.step, self.content = found
        self.resumed = self.step
        print(f"{self.target.name} resumes at step {self.step}", file=self.log)

    def _read(self) -> tuple[int, Any] | None:
        checkpoint = read_checkpoint(self.folder)
        if checkpoint is None:
            return None
        for path in self._files():
            if path not in checkpoint.files and path != checkpoint.arrays:
                (self.folder / path).unlink()
        if findings := checkpoint.findings(self.folder):
            raise Damaged("; ".join(findings))
        self._known = dict(checkpoint.files)
        with np.load(self.folder / checkpoint.arrays, allow_pickle=False) as arrays:
            content = unpacked(checkpoint.content, lambda number: arrays[f"arr_{number}"], self.kinds)
        return checkpoint.step, content

    def _files(self) -> list[str]:
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return sorted(path.relative_to(self.folder).as_posix() for path in files if path.name != PROGRESS)

    def _digest(self, path: str) -> str:
        """Return the sha256 of a file, computed once, as files do not change."""
        if path not in self._known:
            self._known[path] = sha256(self.folder / path)
        return self._known[path]


def _write(path: Path, data: bytes | memoryview) -> None:
    """Write a file atomically, even if the power fails."""
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
