"""Where a job works until its outputs are complete, and goes on after it was killed.

The folder stands beside the output, undeclared to Snakemake, which would empty it. Its name carries a digest of all that the
output depends on, so that nothing of another configuration or source is ever taken up. `progress.json` names what is
committed: it is replaced by one rename after all that it names is on disk, and what it does not name does not count.
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
from .checkpoint import DONE, PROGRESS, Checkpoint, Damaged, forget, read_commit
from .packing import packed, unpacked

STEPS = 256  # between two commits: what a killed job repeats at most
SECONDS = 60.0  # likewise


class CheckpointFolder:
    """A context with a folder to work in.

    Leaving it without an error sets the folder aside until `commit.forget`: whoever is killed before Snakemake knows that the
    outputs are there will find them removed, and goes on from the last commit. One process at a time may have it (`lock`).

    Args:
        target: the output.
        key: all that it depends on.
        kinds: named tuples that may be committed.
        log: where to say what is taken up.

    Attributes:
        folder: to work in.
        content: what was taken up, None at a fresh start.
        step: that of the last commit, 0 at a fresh start.
        resumed: the step that was taken up, 0 at a fresh start.
    """

    def __init__(self, target: Path, key: Any, kinds: Iterable[type] = (), log: TextIO | None = None):
        self.target, self.kinds, self.log = target, tuple(kinds), log
        self.folder = target.with_name(f".{target.name}-{digest(key)[:16]}.partial")
        self.content, self.step, self.resumed = None, 0, 0
        self._known, self._committed = {}, time.monotonic()

    def __enter__(self) -> CheckpointFolder:
        for other in sorted(self.target.parent.glob(f".{self.target.name}-*.partial")):
            if other != self.folder:
                print(f"not taken up, as it is of another configuration or source: {other}", file=self.log)
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
        """Whether it is time to commit."""
        return step - self.step >= STEPS or time.monotonic() - self._committed >= SECONDS

    def commit(self, step: int, content: Any) -> None:
        """Checkpoint the files in the folder, which must not change any more, and what is to go on from."""
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
        self.step, self._committed = step, time.monotonic()

    def _take_up(self) -> None:
        """Read what was committed; clear what was not."""
        try:
            found = self._read()
        except (OSError, ValueError, KeyError, TypeError) as error:
            warnings.warn(f"{self.folder}: damaged, so the run begins anew ({error})", stacklevel=3)
            found = None
        if found is None:
            self._known = {}
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            return
        self.step, self.content = found
        self.resumed = self.step
        print(f"goes on from step {self.step}", file=self.log)

    def _read(self) -> tuple[int, Any] | None:
        commit = read_commit(self.folder)
        if commit is None:
            return None
        for path in self._files():
            if path not in commit.files and path != commit.arrays:
                (self.folder / path).unlink()
        if findings := commit.findings(self.folder):
            raise Damaged("; ".join(findings))
        self._known = dict(commit.files)
        with np.load(self.folder / commit.arrays, allow_pickle=False) as arrays:
            content = unpacked(commit.content, lambda number: arrays[f"arr_{number}"], self.kinds)
        return commit.step, content

    def _files(self) -> list[str]:
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return sorted(path.relative_to(self.folder).as_posix() for path in files if path.name != PROGRESS)

    def _digest(self, path: str) -> str:
        """sha256 of a file, which does not change once it is there."""
        if path not in self._known:
            self._known[path] = sha256(self.folder / path)
        return self._known[path]


def _write(path: Path, data: bytes | memoryview) -> None:
    """Write a file that is there whole or not at all, also after a loss of power."""
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
