"""One writer at a time: a lock beside an output, held by the system for as long as its process lives."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import platform
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..common.errors import UserError


class Locked(UserError, RuntimeError):
    """Another process is writing the same output."""


class Lock:
    """A context in which no other process writes an output.

    A lock that a dead process left is free, as the system lets go of it; `left` is then what that process wrote into it.
    The results folder must be on a file system whose locks hold across machines (NFS 4, Lustre with `-o flock`).

    Args:
        output: what is written; the lock stands beside it.

    Raises:
        Locked: another process has it; the message names both.
    """

    def __init__(self, output: Path):
        self.path = output.with_name(f".{output.name}.lock")
        self.left: dict[str, Any] | None = None

    def __enter__(self) -> Lock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            self._file = self.path.open("a+")
            if not taken(self._file, fcntl.LOCK_EX):
                holder = read(self._file)
                self._file.close()
                raise Locked(
                    f"{self.path}: {named(holder)} is writing this output; {named(this())} does not. "
                    "Wait until it ends, or end it."
                )
            if self._stands():
                break
            self._file.close()  # its holder removed it meanwhile
        self.left = read(self._file)
        self._file.truncate(0)
        self._file.write(json.dumps(this()))
        self._file.flush()
        return self

    def __exit__(self, *error: object) -> None:
        self.path.unlink(missing_ok=True)
        self._file.close()

    def _stands(self) -> bool:
        """Whether the file that is locked is the one that others find."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False


class Mark(NamedTuple):
    """A lock that stands beside an output.

    Attributes:
        held: whether its process lives.
        holder: what that wrote into it.
    """

    held: bool
    holder: dict[str, Any] | None


def mark(output: Path) -> Mark | None:
    """The lock beside an output, None where nobody writes it or was killed over it.

    To ask is to take it for a moment, where it is free.
    """
    try:
        with Lock(output).path.open() as file:
            return Mark(not taken(file, fcntl.LOCK_SH), read(file))
    except FileNotFoundError:
        return None


def taken(file: IO[str], kind: int) -> bool:
    """Whether a lock of this kind (`fcntl.LOCK_EX` or `fcntl.LOCK_SH`) on a file was to be had, and is held now."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def this() -> dict[str, Any]:
    """This process, as a lock says who holds it."""
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"host": platform.node(), "pid": os.getpid(), "started": started}


def read(file: Any) -> dict[str, Any] | None:
    """What the holder of a lock wrote into it."""
    file.seek(0)
    try:
        return dict(json.loads(file.read()))
    except (ValueError, TypeError):  # its process died, or is just about to write it
        return None


def named(holder: dict[str, Any] | None) -> str:
    """A holder in words."""
    if holder is None:
        return "another process"
    return f"process {holder.get('pid')} on {holder.get('host')} (started {holder.get('started')})"
