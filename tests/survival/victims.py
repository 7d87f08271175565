"""Jobs to be killed: small trajectories, each in a process of its own, forked so that nothing is imported anew."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from centralflows import Objective, RMSProp
from centralflows.flows.experiment import Experiment
from centralflows.jobs import checkpoint
from centralflows.jobs.checkpoint import CheckpointFolder
from centralflows.jobs.store_trajectories import store_discrete, store_flow
from centralflows.jobs.trajectories import KINDS
from centralflows.store import zarr_writer

STEPS, SEGMENT = 26, 5
FLOWS = ("stable", "central", "ablated", "stationary", "stationary-ablated")


def experiment() -> Experiment:
    """RMSProp at its edge of stability: it has a state, and one mode or two are critical."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2))
    inputs, targets = torch.randn(20, 3, generator=generator), torch.randn(20, 2, generator=generator)
    objective = Objective(network, inputs, targets, lambda f, y: 0.5 * (f - y).square().sum(-1).mean())
    made = Experiment(objective, RMSProp(0.02, 0.9), STEPS, warm_start=20, coordinates=2, examples=inputs[:2])
    spectrum = made.spectrum.model_copy(update={"hessian_every": 3})
    return replace(made, spectrum=spectrum, stationary=made.stationary.model_copy(update={"tolerance": 0.05}))


def store(made: Experiment, process: str, folder: Path, counter: Path | None = None) -> None:
    """The trajectory of a process in a folder; each step that is computed adds a byte to the counter."""
    checkpoint.STEPS = SEGMENT
    zarr_writer.CHUNK, zarr_writer.SHARD, zarr_writer.WEIGHTS_CHUNK = 4, 8, 600  # several files of each kind
    attrs, log = {"config": process}, (folder / "log").open("a")
    options = {"weights_stride": 2, "attrs": attrs, "log": log}
    observed = replace(made)
    if counter is not None:
        _count(observed, counter)
    if process == "discrete":
        with CheckpointFolder(folder / "discrete.zarr", attrs, KINDS, log) as stage:
            store_discrete(observed, folder / "discrete.zarr", folder / "midpoint.zarr", checkpoints=stage, **options)
    else:
        target = folder / f"{process}.zarr"
        with CheckpointFolder(target, attrs, KINDS, log) as stage:
            store_flow(observed, process, target, discrete=folder / "discrete.zarr", checkpoints=stage, **options)


def _count(made: Experiment, counter: Path) -> None:
    for name in ("discrete", "flow"):
        real = getattr(Experiment, name)

        def counted(self, *arguments, real=real, **options):
            for each in real(self, *arguments, **options):
                with counter.open("ab") as file:
                    file.write(b".")
                yield each

        setattr(type(made), name, counted)


def run(work: Callable[[], None], *, killed_at: int | None = None) -> tuple[int, int]:
    """Do work in a fork, and kill that when it touches the file system for the n-th time.

    Returns:
        Its exit status, negative for a signal, and how often it did.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        touched = 0

        def watch(event: str, arguments: tuple) -> None:
            nonlocal touched
            opened = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
            if opened or event in ("os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir"):
                touched += 1
                if touched == killed_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        status = 1
        try:
            torch.set_num_threads(1)
            sys.addaudithook(watch)
            work()
            status = 0
        except SystemExit as error:
            status = error.code
        finally:
            os.write(write, str(touched).encode())
            os._exit(status)
    os.close(write)
    with os.fdopen(read) as pipe:
        touched = pipe.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), int(touched or 0)
