"""States of the trajectories of a profile, from the files of their jobs: manifests, locks, checkpoints and logs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ..common.hashing import source_digest
from ..config.job_settings import trajectory_jobs
from ..config.profile import ProfileConfig
from ..provenance import record_differences
from ..provenance.manifest import ManifestError, manifest_path, read_manifest
from .checkpoint_contents import Damaged, read_checkpoint
from .lock import lock_state

DONE, RUNNING, INTERRUPTED, FAILED, WAITING = "done", "running", "interrupted", "failed", "waiting"
ANEW = "starts again"
STATES = (DONE, RUNNING, INTERRUPTED, FAILED, WAITING)

_STEP = re.compile(r"^.*: step (\d+)/(\d+), (\S+) steps/s, (\d+) s left$", re.M)
_ERROR = re.compile(r"^(?:\w+\.)*[A-Z]\w*(?<!Warning)(?:: .*)?$", re.M)  # first line of the message of an exception
_SIGNAL = re.compile(r"^stopped by SIG\w+$", re.M)


@dataclass(frozen=True)
class Status:
    """The state of the trajectory of a process.

    Attributes:
        run: name of the run.
        process: a flow, `discrete` or `speeds`.
        state: one of `STATES`.
        step: number of finished steps that are kept; for a running job, the number in its log.
        steps: number of all steps.
        rate: speed of a running job [steps/s].
        seconds_left: remaining time of a running job [s].
        writer: host and process of a running job.
        note: reason of a failure or an early end, or what happens to a checkpoint.
    """

    run: str
    process: str
    state: str
    step: int
    steps: int
    rate: float | None = None
    seconds_left: float | None = None
    writer: dict[str, Any] | None = None
    note: str = ""


class Place(NamedTuple):
    """The files of a job.

    Attributes:
        run: name of the run.
        process: process that the job computes.
        output: first output.
        log: log file.
    """

    run: str
    process: str
    output: Path
    log: Path

    @property
    def rule(self) -> str:
        return self.process if self.process in ("discrete", "speeds") else "flow"


def statuses(profile: ProfileConfig, results: Path) -> Iterator[Status]:
    """Yield the states of all trajectories of a profile, run by run.

    Args:
        results: the folder `results`; the folder `logs` is beside it.
    """
    for name, run in profile.runs.items():
        for process in trajectory_jobs(run):
            output = results / profile.profile / name / f"{process}.zarr"
            log = results.parent / "logs" / profile.profile / name / f"{process}.log"
            yield status(Place(name, process, output, log), profile)


def status(place: Place, profile: ProfileConfig) -> Status:
    """Return the state of one trajectory."""
    run = profile.runs[place.run]
    steps = len(range(0, run.steps, run.stationary_every)) if place.process == "speeds" else run.steps
    log = place.log.read_text(errors="replace") if place.log.is_file() else ""
    told, lock = partial(Status, place.run, place.process), lock_state(place.output)
    if lock and lock.held:
        said = _STEP.findall(log)
        step, total, rate, left = map(float, said[-1]) if said else (_kept(place, profile)[0], steps, None, None)
        return told(RUNNING, int(step), int(total), rate, left, lock.holder)
    if place.output.is_dir() and manifest_path(place.output).is_file():
        state, note = _made(place.output, profile)
        return told(state, steps if state == DONE else 0, steps, note=note)
    step, note = _kept(place, profile)
    if error := _ERROR.findall(log):
        return told(FAILED, step, steps, note=error[-1])
    if lock or note or _SIGNAL.search(log):
        return told(INTERRUPTED, step, steps, note=note or ANEW)
    return told(WAITING, 0, steps)


def _made(output: Path, profile: ProfileConfig) -> tuple[str, str]:
    """Return the state of a recorded output, and a note on it."""
    try:
        made = read_manifest(manifest_path(output)).made
        attrs = _attributes(output)
    except (ManifestError, OSError, ValueError, KeyError):
        return FAILED, "it or its manifest is damaged; verify says how"
    notes = [f"ended early: {attrs['stopped']}"] if "stopped" in attrs else []
    return DONE, "; ".join(notes + (["of other settings"] if any(record_differences.reset(made, profile)) else []))


def _attributes(store: Path) -> dict[str, Any]:
    return json.loads((store / "zarr.json").read_bytes())["attributes"]


def _kept(place: Place, profile: ProfileConfig) -> tuple[int, str]:
    """Return the step from which the next job resumes, and a note on the checkpoint; 0 and no note without one."""
    found: list[tuple[int, str]] = []
    for folder in place.output.parent.glob(f".{place.output.name}-*.partial"):
        try:
            checkpoint = read_checkpoint(folder)
            current = checkpoint and _current(place, _attributes(folder / place.output.name), profile)
        except (Damaged, OSError, ValueError, KeyError):
            found.append((0, f"its checkpoint is damaged; {ANEW}"))
            continue
        if current:
            found.append((checkpoint.step, "resumes there"))
        else:
            found.append((0, f"step {checkpoint.step} is of other settings or code; {ANEW}" if checkpoint else ANEW))
    return max(found, default=(0, ""))


def _current(place: Place, attrs: dict[str, Any], profile: ProfileConfig) -> bool:
    """Return whether a job would resume the unfinished store with these attributes."""
    wildcards = {"run": place.run, **({"flow": place.process} if place.rule == "flow" else {})}
    begun = {"rule": place.rule, "wildcards": wildcards, "config": json.loads(attrs["config"])}
    source = source_digest(f"workflow/scripts/{place.rule}.py", *begun["config"].get("code", ()))
    return attrs["source_digest"] == source and not any(record_differences.reset(begun, profile))
