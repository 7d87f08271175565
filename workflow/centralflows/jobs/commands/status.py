"""Show the state of every run of a profile: done, running, interrupted, failed or waiting."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from ...common.errors import UserError
from ...config.messages import ConfigError
from ...config.profile import load
from ..run_states import DONE, FAILED, INTERRUPTED, RUNNING, STATES, Status, statuses


class NoProfile(UserError):
    """A profile that no configuration file is named after."""


def arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("profile", nargs="?", default="default", help="(default: default)")
    which.add_argument("--configfile", type=Path, help="of the profile, where it is not in `config`")
    parser.add_argument("--results", type=Path, default=Path("results"), help="the folder `results` (default: here)")
    parser.add_argument("--json", action="store_true", help="print all that is known as JSON")


def main(options: argparse.Namespace) -> int:
    try:
        profile = load(options.configfile or configuration(options.profile))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    found = list(statuses(profile, options.results.resolve()))
    if options.json:
        print(json.dumps([asdict(status) for status in found], indent=1))
    else:
        print("\n".join(table(found)))
    return 0


def configuration(profile: str) -> Path:
    """Return the path of a profile that comes with the workflow, by the profile's name.

    Raises:
        NoProfile: there is no such file.
    """
    file = Path("config") / ("config.yaml" if profile == "default" else f"{profile}.yaml")
    if not file.is_file():
        raise NoProfile(f"there is no {file}; name the profile's file as --configfile")
    return file


def table(found: Sequence[Status]) -> Iterator[str]:
    """Yield one line per trajectory, and one that counts them."""
    runs, names = (
        max(len(name) for name in column) for column in zip(*((s.run, s.process) for s in found), strict=True)
    )
    before = None
    for status in found:
        run = status.run if status.run != before else ""
        yield f"{run:{runs}}  {status.process:{names}}  {status.state:11}  {told(status)}".rstrip()
        before = status.run
    counts = Counter(status.state for status in found)
    yield f"{len(found)} trajectories: " + ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])


def told(status: Status) -> str:
    """Return the details of a trajectory that are shown beside its state."""
    at = f"step {status.step} of {status.steps}"
    if status.state == DONE:
        return status.note or f"{status.steps} steps"
    if status.state == RUNNING:
        speed = [f"{status.rate:.3g} steps/s", f"{duration(status.seconds_left)} left"] if status.rate else []
        who = status.writer and f"process {status.writer.get('pid')} on {status.writer.get('host')}"
        return ", ".join(filter(None, [f"{100 * status.step // status.steps} %", at, *speed, who]))
    if status.state == INTERRUPTED:
        return f"at {at}: {status.note}"
    if status.state == FAILED:
        return status.note + (f" ({at} is kept)" if status.step else "")
    return ""


def duration(seconds: float) -> str:
    """Return a duration in days, hours, minutes and seconds."""
    return str(datetime.timedelta(seconds=round(seconds)))
