"""Calls of the workflow that are at work at once: whose locks are stale, and who makes what."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from ..common.errors import UserError
from .lock import Locked, named, read, taken, this


class Overtaken(UserError, RuntimeError):
    """Another call made an output while this one was planning to."""


def attend(folder: Path) -> TextIO:
    """Be counted among the Snakemakes of a `.snakemake` folder, for as long as the returned file is open.

    Whoever finds itself the only one removes the locks there that dead ones left, which would stop it.
    """
    folder.mkdir(exist_ok=True)
    file = (folder / "attending").open("a")
    if taken(file, fcntl.LOCK_EX):  # else another one is alive, and the locks may be its own
        for stale in (folder / "locks").glob("*.lock"):
            stale.unlink()
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


@contextmanager
def announce(folder: Path, outputs: Collection[str], *, since: float) -> Iterator[None]:
    """A context in which no other call makes the outputs of this one.

    Snakemake's own locks stand in the folder where it was called, and it removes what a job is to make before the job can
    look for others at work: calls from two checkouts that share a results folder would remove each other's outputs.

    Args:
        folder: where all that make the outputs say so; shared as they are, on a file system whose locks are, too.
        outputs: paths, spelled alike by all.
        since: when this call began to plan, seconds since the epoch.

    Raises:
        Locked: another call is at work on one of them; the message names both.
        Overtaken: one of them was made since.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mine = this()
    plan = folder.absolute() / f"{mine['host']}-{mine['pid']}.json"  # Snakemake may have left its folder at the end
    with (folder / "turn").open("a") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for other in _plans(folder):
            if both := sorted(set(outputs) & set(other["outputs"])):
                raise Locked(
                    f"{both[0]}: {named(other)} is making this output{_more(both)}; {named(mine)} does not. "
                    "Wait until it ends, or end it."
                )
        if late := sorted(output for output in outputs if _made(output) > since):
            raise Overtaken(f"{late[0]}: another call made this output{_more(late)} meanwhile; start again")
        file = plan.open("w")
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump(mine | {"outputs": sorted(outputs)}, file)
        file.flush()
    try:
        yield
    finally:
        plan.unlink(missing_ok=True)
        file.close()


def _plans(folder: Path) -> Iterator[dict[str, Any]]:
    """What the living are making; plans of the dead are removed."""
    for plan in folder.glob("*.json"):
        with suppress(FileNotFoundError), plan.open() as file:
            if taken(file, fcntl.LOCK_SH):
                plan.unlink()
            else:
                yield read(file)


def _made(output: str) -> float:
    try:
        return os.stat(output).st_mtime
    except FileNotFoundError:
        return 0.0


def _more(outputs: list[str]) -> str:
    return f" and {len(outputs) - 1} more" if len(outputs) > 1 else ""
