"""File locks: one writer for each output. The operating system holds a lock until its process ends."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from ..common.errors import UserError

Holder = dict[str, Any]
"""A process that holds a lock: its host, its number, and when it took the lock."""

PATIENCE = 0.2
"""How long to try [s]: another process may be asking who holds the lock, or removing its file."""


class Locked(UserError, RuntimeError):
    """Another process is writing the same output."""


class Lock:
    """A context in which no other process writes an output.

    A lock whose process died is free. The results folder must be on a file system whose locks hold across machines (NFS 4,
    Lustre with `-o flock`).

    Args:
        output: what is written. The lock file stands beside it.

    Attributes:
        path: the lock file.
        left: the holder that died without releasing the lock, if there was one.

    Raises:
        Locked: another process holds the lock. The message names both.
    """

    def __init__(self, output: Path):
        self.path = output.with_name(f".{output.name}.lock")
        self.left: Holder | None = None

    def __enter__(self) -> Lock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = file_lock(self.path)
        try:
            self._lock.acquire(timeout=PATIENCE)
        except Timeout:
            raise Locked(
                f"{self.path}: {named(holder_of(self.path))} is writing this output; {named(this_process())} does not. "
                "Wait until it ends, or end it."
            ) from None
        self.left = holder_of(self.path)
        self.path.write_text(json.dumps(this_process()))
        return self

    def __exit__(self, *error: object) -> None:
        self.path.unlink(missing_ok=True)
        self._lock.release()


class LockState(NamedTuple):
    """A lock file that stands beside an output.

    Attributes:
        held: whether its process lives.
        holder: the process that wrote it.
    """

    held: bool
    holder: Holder | None


def lock_state(output: Path) -> LockState | None:
    """Return the state of the lock beside an output, None if there is no lock file."""
    path = Lock(output).path
    if not path.is_file():
        return None
    holder = holder_of(path)
    return LockState(is_held(path), holder)


def is_held(path: Path) -> bool:
    """Return whether a process holds the lock of a file. Reading rights are enough; a free lock is shared for a moment."""
    with suppress(FileNotFoundError), path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def file_lock(path: Path) -> FileLock:
    """Return the lock of a lock file. It never falls back to a lock that outlives its process."""
    return FileLock(path, poll_interval=0.01, fallback_to_soft=False)


def this_process() -> Holder:
    """Return this process as the holder of a lock."""
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"host": platform.node(), "pid": os.getpid(), "started": started}


def holder_of(path: Path) -> Holder | None:
    """Return the holder that is written in a lock file, None if none is."""
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):  # its process died, or is just about to write it
        return None


def named(holder: Holder | None) -> str:
    """Return a holder in words."""
    if holder is None:
        return "another process"
    return f"process {holder.get('pid')} on {holder.get('host')} (started {holder.get('started')})"
