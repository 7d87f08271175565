"""The stream of records from processes into stores, which are published when they are complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ..common.errors import Diverged, Stopped, UserError
from ..common.progress import progress
from ..flows.experiment import Experiment
from ..flows.stored_run import beside
from ..store.trajectory import Record, open_trajectory
from ..store.zarr_writer import Writer
from .checkpoint import CheckpointFolder
from .interruption import Interrupted, Interruption


def store_discrete(
    experiment: Experiment,
    discrete: Path,
    midpoint: Path,
    *,
    weights_stride: int,
    attrs: dict[str, Any],
    checkpoints: CheckpointFolder,
    truncate: bool = False,
    log: TextIO | None = None,
) -> None:
    """Check the network's derivatives, run the optimizer, and publish its store and that of its midpoints.

    Raises:
        WrongDerivatives: automatic differentiation is wrong for this network; nothing was run.
        Diverged: a value is not finite. The finite part is published under another name. With `truncate`, nothing is
            raised, and the store ends in NaN.
        Interrupted: the process was told to stop; a checkpoint keeps its finished steps.
    """
    errors = experiment.check()
    listed = ", ".join(f"{name} {error:.0e}" for name, error in errors.items())
    print(f"derivatives agree with differences (relative errors: {listed})", file=log)
    if experiment.objective.replaced:
        print(
            f"functions with exact derivatives in place of torch's: {', '.join(experiment.objective.replaced)}",
            file=log,
        )
    stored(
        experiment,
        {"discrete": discrete, "midpoint": midpoint},
        lambda resume_state: experiment.discrete(resume_state=resume_state),
        weights_stride=weights_stride,
        attrs=attrs,
        checkpoints=checkpoints,
        truncate=truncate,
        log=log,
    )


def store_flow(
    experiment: Experiment,
    process: str,
    target: Path,
    *,
    discrete: Path,
    weights_stride: int,
    attrs: dict[str, Any],
    checkpoints: CheckpointFolder,
    truncate: bool = False,
    log: TextIO | None = None,
) -> None:
    """Integrate a flow and publish its store.

    The store of a flow that reaches a limit ends in NaN, and its attribute `stopped` says why.

    Args:
        process: name of the flow.
        discrete: store of the discrete run, at whose start the flow starts and to which distances are measured.

    Raises:
        Diverged: a value is not finite. The finite part is published under another name. With `truncate`, nothing is
            raised, and the store ends in NaN.
        Interrupted: the process was told to stop; a checkpoint keeps its finished steps.
    """
    experiment, weights = beside(experiment, discrete)
    stored(
        experiment,
        {process: target},
        lambda resume_state: ((record,) for record in experiment.flow(process, weights, resume_state=resume_state)),
        weights_stride=weights_stride,
        attrs=attrs,
        checkpoints=checkpoints,
        truncate=truncate,
        log=log,
    )


def stored(
    experiment: Experiment,
    targets: dict[str, Path],
    records: Callable[[Any], Iterator[tuple[Record, ...]]],
    *,
    weights_stride: int,
    attrs: dict[str, Any],
    checkpoints: CheckpointFolder,
    truncate: bool,
    log: TextIO | None,
    ends: tuple[type[Exception], ...] = (Diverged,),
    extends: bool = False,
) -> None:
    """Stream records of processes into their stores, from the checkpoint of a killed job on, and publish the stores.

    Args:
        ends: kinds of a user's errors that end a process and not the job, with `truncate`.
        extends: keep a checkpoint of the end, so that a later call with more steps goes on there.
    """
    found = checkpoints.content or {"position": None, "writers": {}, "microbatch_sizes": None, "steps": None}
    longer = found["position"] is not None and found["steps"] != experiment.steps
    if found["microbatch_sizes"]:
        experiment.set_microbatch_size(found["microbatch_sizes"])
    writers = {
        process: Writer(
            checkpoints.folder / target.name,
            experiment.shape(process, weights_stride=weights_stride),
            attrs,
            None if longer else found["writers"].get(process),
        )
        for process, target in targets.items()
    }
    if longer:
        checkpoints.renew()
        for process, target in targets.items():
            _append_all(writers[process], target, checkpoints.step)
    resume_state, step = found["position"], checkpoints.step

    def save() -> None:
        held = {process: writer.resume_state() for process, writer in writers.items()}
        checkpoints.save(
            step,
            {
                "position": resume_state,
                "writers": held,
                "microbatch_sizes": experiment.microbatch_sizes,
                "steps": experiment.steps,
            },
        )

    closing: dict[str, Any] = experiment.description
    shown = {"total": experiment.steps, "name": str(next(iter(targets.values()))), "done": step, "log": log}
    try:
        with Interruption() as interruption:
            for each in progress(records(resume_state), **shown):
                with interruption.whole():
                    for writer, record in zip(writers.values(), each, strict=True):
                        writer.append(record)
                    step, resume_state = each[0].step + 1, each[0].resume_state
                    if checkpoints.due(step):
                        save()
    except Stopped as stopped:
        closing["stopped"] = str(stopped)
        print(f"stopped: {stopped}", file=log)
    except ends as error:
        if not isinstance(error, UserError):
            raise
        how = type(error).__name__
        if isinstance(error, Diverged):
            how, closing["diverged"] = "diverged", step
        closing["stopped"] = f"{how} at step {step}: {error}"
        if not truncate:
            kept = [target.with_suffix(".diverged.zarr") for target in targets.values()]
            for process, target in zip(targets, kept, strict=True):
                writers[process].publish(target, **closing)
            raise Diverged(f"{error}. The finite part is in {', '.join(map(str, kept))}") from None
        print(closing["stopped"], file=log)
    except Interrupted:
        if resume_state is not None:
            save()
            print(f"a checkpoint was written at step {step}; the same command resumes there", file=log)
        raise
    if extends and resume_state is not None:
        save()
    for process, target in targets.items():
        writers[process].publish(target, **closing)


def _append_all(writer: Writer, path: Path, steps: int) -> None:
    """Add the first rows of a published store to a writer of a longer one."""
    dataset = open_trajectory(path)
    rows = {int(step): row for row, step in enumerate(dataset.saved_step.values)}
    series = dataset[writer.shape.variables].load()
    parts = ["weights", *(name for name, _ in writer.shape.states)]
    block, held = dataset.weights.encoding["chunks"][0], None  # weights of all steps may not fit into memory
    for step in range(steps):
        weights, *state = np.empty(0), *()
        if (row := rows.get(step)) is not None:
            if row % block == 0:
                held = dataset[parts].isel(saved_step=slice(row, row + block)).load()
            weights, *state = (held[part].values[row % block] for part in parts)
        values = {name: series[name].values[step] for name in writer.shape.variables}
        writer.append(Record(step, values, weights, tuple(state)))
