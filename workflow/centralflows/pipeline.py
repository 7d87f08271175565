"""Trajectories of an experiment, streamed into published stores."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor

from .experiment import Experiment
from .integrate import Stopped
from .progress import progress
from .trajectory import Writer, open_trajectory


def store_discrete(
    experiment: Experiment,
    discrete: Path,
    midpoint: Path,
    *,
    weights_stride: int,
    attrs: dict[str, Any],
    log: TextIO | None = None,
) -> None:
    """Probe the network's derivatives, run the optimizer, publish its store and that of its midpoints.

    Raises:
        WrongDerivatives: automatic differentiation is wrong for this network; nothing was run.
        Diverged: something is not finite; nothing is published.
    """
    errors = experiment.check()
    listed = ", ".join(f"{name} {error:.0e}" for name, error in errors.items())
    print(f"derivatives agree with differences (relative errors: {listed})", file=log)
    with ExitStack() as stack:
        writers = [
            stack.enter_context(Writer(target, experiment.shape(process, weights_stride=weights_stride), attrs))
            for process, target in (("discrete", discrete), ("midpoint", midpoint))
        ]
        for records in progress(experiment.discrete(), total=experiment.steps, name=str(discrete), log=log):
            for writer, record in zip(writers, records, strict=True):
                writer.append(record)
        for writer in writers:
            writer.publish()


def store_flow(
    experiment: Experiment,
    process: str,
    target: Path,
    *,
    discrete: Path,
    weights_stride: int,
    attrs: dict[str, Any],
    log: TextIO | None = None,
) -> None:
    """Integrate a flow and publish its store. One that becomes too stiff ends in NaN, and `stopped` says why.

    Args:
        process: "stable", "central" or "ablated".
        discrete: store of the discrete run, for the distances to it.

    Raises:
        Diverged: something is not finite; nothing is published.
    """
    records = experiment.flow(process, stored_weights(discrete))
    closing: dict[str, str] = {}
    with Writer(target, experiment.shape(process, weights_stride=weights_stride), attrs) as writer:
        try:
            for record in progress(records, total=experiment.steps, name=str(target), log=log):
                writer.append(record)
        except Stopped as stopped:
            closing["stopped"] = str(stopped)
            print(f"stopped: {stopped}", file=log)
        writer.publish(**closing)


def stored_weights(path: Path) -> Callable[[int], Tensor | None]:
    """The weights of a stored trajectory by step, None where they were not kept; read a block of rows at a time."""
    store = open_trajectory(path)
    if "weights" not in store:
        return lambda step: None
    row_of = {int(step): row for row, step in enumerate(store.saved_step.values)}
    block = store.weights.encoding["chunks"][0]
    held: dict[int, Tensor] = {}

    def at(step: int) -> Tensor | None:
        row = row_of.get(step)
        if row is None:
            return None
        index = row // block
        if index not in held:
            held.clear()
            rows = store.weights.isel(saved_step=slice(index * block, (index + 1) * block)).values
            held[index] = torch.from_numpy(rows)
        return held[index][row - index * block]

    return at
