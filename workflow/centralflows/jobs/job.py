"""The frame of every Snakemake job of this workflow: log, lock, verified inputs, manifest, and errors as one message.

Imports no torch, so that jobs that only read stores start quickly.
"""

from __future__ import annotations

import datetime
import gc
import json
import os
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from ..common.errors import UserError
from ..common.hashing import canonical, digest, module_digests, sha256
from ..provenance.manifest import (
    CALL,
    identifier,
    manifest_path,
    portable,
    record,
    script_of,
    verify_manifest,
    write_manifest,
)
from .checkpoint_contents import forget
from .interruption import Interrupted
from .lock import Lock, Locked, named

REFERENCE = (
    "Cohen, Damian, Talwalkar, Kolter, Lee: Understanding Optimization in Deep Learning with Central Flows, ICLR 2025, "
    "arXiv:2410.24206"
)


class CodeChanged(UserError):
    """Code that was edited after Snakemake planned the job, whose record would be wrong."""


class Job:
    """A running job.

    Attributes:
        config: the part of the configuration that its outputs depend on.
        log: its log, line-buffered.
    """

    def __init__(self, snakemake: Any, log: TextIO):
        self._snakemake, self.log = snakemake, log
        self.config: Any = json.loads(snakemake.params.cfg)
        self._inputs: dict[str, dict[str, str]] = {}
        self._files: dict[str, dict[str, str]] = {}
        self._modules = module_digests(script_of(snakemake.rule), *self.config.get("code", ()))
        if digest(self._modules) != snakemake.params.source:
            raise CodeChanged("the code was edited after snakemake read it; start snakemake again")
        self._started = datetime.datetime.now(datetime.UTC)
        self._clock = time.monotonic()

    @property
    def wildcards(self) -> dict[str, str]:
        """The wildcards that distinguish the job from others of its rule."""
        return dict(self._snakemake.wildcards.items())

    @property
    def device(self) -> str:
        """Where trajectories are computed: "auto", "cpu" or "cuda"."""
        return self._snakemake.config.get("device", "auto")

    def input(self, name: str) -> Path:
        """Return the path of a recorded input, verified against its manifest.

        Raises:
            ManifestError: the input is not what its manifest says.
        """
        path = Path(self._snakemake.input[name])
        found = verify_manifest(manifest_path(path))
        forget(path)
        self._inputs[name] = {"path": str(path), "digest": found.digest, "manifest": found.identity}
        return path

    def file(self, name: str) -> Path:
        """Return the path of an input without a manifest; the record keeps its digest."""
        path = Path(self._snakemake.input[name])
        self._files[name] = {"path": portable(path), "sha256": sha256(path)}
        return path

    def output(self, name: str) -> Path:
        return Path(self._snakemake.output[name])

    def attrs(self) -> dict[str, Any]:
        """Return the attributes that identify a store; they are deterministic, so that equal runs have equal bytes."""
        return {
            "config": canonical(self.config),
            "source_digest": self._snakemake.params.source,
            "inputs": canonical(self._digests),
            "references": REFERENCE,
        }

    @property
    def identifier(self) -> str:
        """The identifier of a figure, for its metadata."""
        return identifier(self.config, self._snakemake.params.source, self._digests)

    @property
    def _digests(self) -> dict[str, str]:
        return {name: pin["digest"] for name, pin in self._inputs.items()}

    def record(self, name: str, *outputs: str, **more: Any) -> None:
        """Write the manifest called `name` of the named outputs, with the record of how they were made.

        Everything that is not deterministic (time, machine, commit) is in this record only.
        """
        write_manifest(
            self.output(name),
            [self.output(output) for output in outputs],
            record(
                rule=self._snakemake.rule,
                wildcards=self.wildcards,
                config=self.config,
                source_digest=self._snakemake.params.source,
                modules=self._modules,
                identifier=self.identifier,
                inputs=self._inputs,
                files=self._files,
                started=self._started.isoformat(timespec="seconds"),
                seconds=round(time.monotonic() - self._clock, 3),
                processor_seconds=round(time.process_time(), 3),
                memory=peak_memory(),
                **json.loads(os.environ.get(CALL, "{}")),
                **more,
            ),
        )


def peak_memory() -> float:
    """Return the most memory that this process has held [MB]."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


def _shown_in(log: TextIO) -> Callable[..., None]:
    """Return a function that shows a warning as one line, in the log and on stderr."""

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        for stream in (log, sys.stderr):
            print(f"{category.__name__}: {message}", file=stream)

    return show


@contextmanager
def _locked(output: Path) -> Iterator[Lock]:
    """Hold the lock of a job; if it is refused, exit without opening the log, which belongs to the other job."""
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(Lock(output))
        except Locked as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            sys.exit(1)
        yield lock


@contextmanager
def job(snakemake: Any) -> Iterator[Job]:
    """Hold a context that runs a script's body as a job, the only writer of its outputs.

    An expected error becomes one message, in the log and on stderr, and exit status 1.
    """
    gc.freeze()  # imported modules live until the process ends, which else spends half a second on collecting them
    with _locked(Path(snakemake.output[0])) as lock, open(snakemake.log[0], "w", buffering=1) as log:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _shown_in(log)
                if lock.left:
                    print(f"{named(lock.left)} started this job and did not finish it", file=log)
                yield Job(snakemake, log)
        except Interrupted as interrupted:
            for stream in (log, sys.stderr):
                print(interrupted, file=stream)
            sys.exit(128 + interrupted.number)
        except (UserError, OSError) as error:  # anything else is a bug and keeps its traceback
            for stream in (log, sys.stderr):
                print(f"{type(error).__name__}: {error}", file=stream)
            sys.exit(1)
        except Exception:
            traceback.print_exc(file=log)
            raise
