"""Coordination of concurrent calls of Snakemake: stale locks are removed, and one call at a time makes an output."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from ..common.errors import UserError
from .lock import Locked, file_lock, holder_of, is_held, named, this_process


class Overtaken(UserError, RuntimeError):
    """Another call made an output while this call was planning to make it."""


def attend(folder: Path) -> TextIO:
    """Count this call among those that use a `.snakemake` folder, until the returned file is closed.

    A call that finds no other alive removes the locks that dead calls left in the folder; they would stop it.
    """
    folder.mkdir(exist_ok=True)
    file = (folder / "attending").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass  # another call is alive, and the locks may be its own
    else:
        for stale in (folder / "locks").glob("*.lock"):
            stale.unlink()
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


@contextmanager
def announce(folder: Path, outputs: Collection[str], *, since: float) -> Iterator[None]:
    """Hold a context in which no other call makes the outputs of this call.

    Snakemake keeps its own locks in the folder where it was called. It also removes an output before the job that makes it
    can look for other writers. So two checkouts that share a results folder would remove each other's outputs.

    Args:
        folder: where all calls that make the outputs announce them. Its file system must have locks.
        outputs: paths, spelled alike by all calls.
        since: when this call began to plan [seconds since the epoch].

    Raises:
        Locked: another call is making one of the outputs. The message names both calls.
        Overtaken: one of the outputs was made after `since`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mine = this_process()
    plan = folder.absolute() / f"{mine['host']}-{mine['pid']}.json"  # Snakemake may have left its folder at the end
    with file_lock(folder / "turn"):
        for other in _plans(folder):
            if both := sorted(set(outputs) & set(other["outputs"])):
                raise Locked(
                    f"{both[0]}: {named(other)} is making this output{_more(both)}; {named(mine)} does not. "
                    "Wait until it ends, or end it."
                )
        if late := sorted(output for output in outputs if _made(output) > since):
            raise Overtaken(f"{late[0]}: another call made this output{_more(late)} meanwhile; start again")
        held = file_lock(plan)
        held.acquire()
        plan.write_text(json.dumps(mine | {"outputs": sorted(outputs)}))
    try:
        yield
    finally:
        plan.unlink(missing_ok=True)
        held.release()


def _plans(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the plans of other calls that are alive, and remove those of dead calls."""
    for plan in folder.glob("*.json"):
        if not is_held(plan):
            plan.unlink(missing_ok=True)
        elif found := holder_of(plan):
            yield found


def _made(output: str) -> float:
    try:
        return os.stat(output).st_mtime
    except FileNotFoundError:
        return 0.0


def _more(outputs: list[str]) -> str:
    return f" and {len(outputs) - 1} more" if len(outputs) > 1 else ""
