"""Trajectories of an experiment, streamed into published stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor

from . import metrics, schema
from .data.examples import Dataset
from .discrete import DiscretePosition, Start, advanced
from .edge import Edge, Third
from .errors import Diverged, Stopped, UserError
from .experiment import Experiment, build
from .flows import Frame
from .integrate import FlowPosition
from .interruption import Interrupted, Interruption
from .jobs import Job
from .progress import progress
from .speeds import compare
from .staging import Staging
from .tracker import Tracked
from .trajectory import Record, open_trajectory
from .writer import Writer, write_dataset


def store_discrete(
    experiment: Experiment,
    discrete: Path,
    midpoint: Path,
    *,
    weights_stride: int,
    attrs: dict[str, Any],
    staging: Staging,
    truncate: bool = False,
    log: TextIO | None = None,
) -> None:
    """Probe the network's derivatives, run the optimizer, publish its store and that of its midpoints.

    Raises:
        WrongDerivatives: automatic differentiation is wrong for this network; nothing was run.
        Diverged: something is not finite. What was is published under another name, or with `truncate`, nothing is raised
            and the store ends in NaN there.
        Interrupted: the process was told to stop; what it has is committed.
    """
    errors = experiment.check()
    listed = ", ".join(f"{name} {error:.0e}" for name, error in errors.items())
    print(f"derivatives agree with differences (relative errors: {listed})", file=log)
    _stored(
        experiment,
        {"discrete": discrete, "midpoint": midpoint},
        lambda position: experiment.discrete(position=position),
        weights_stride=weights_stride,
        attrs=attrs,
        staging=staging,
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
    staging: Staging,
    truncate: bool = False,
    log: TextIO | None = None,
) -> None:
    """Integrate a flow and publish its store. One that reaches a limit ends in NaN, and `stopped` says why.

    Args:
        process: a key of `experiment.FLOWS`.
        discrete: store of the discrete run: where the flow starts, and what the distances are to.

    Raises:
        Diverged: something is not finite. What was is published under another name, or with `truncate`, nothing is raised
            and the store ends in NaN there.
        Interrupted: the process was told to stop; what it has is committed.
    """
    experiment = replace(experiment, begin=stored_state(discrete, experiment.optimizer.state_names), warm_start=0)
    weights = stored_weights(discrete)
    _stored(
        experiment,
        {process: target},
        lambda position: ((record,) for record in experiment.flow(process, weights, position=position)),
        weights_stride=weights_stride,
        attrs=attrs,
        staging=staging,
        truncate=truncate,
        log=log,
    )


KINDS = (DiscretePosition, FlowPosition, Tracked, Frame, Edge, Third)
"""What positions are made of."""


def staged(job: Job, output: str, device: torch.device) -> Staging:
    """Where a trajectory job works: keyed by all that its outputs depend on, to the last bit."""
    versions = {package: metadata.version(package) for package in ("torch", "numpy")}
    key = {"attrs": job.attrs(), "device": device.type, "versions": versions}
    return Staging(job.output(output), key, KINDS, job.log)


def _stored(
    experiment: Experiment,
    targets: dict[str, Path],
    records: Callable[[Any], Iterator[tuple[Record, ...]]],
    *,
    weights_stride: int,
    attrs: dict[str, Any],
    staging: Staging,
    truncate: bool,
    log: TextIO | None,
) -> None:
    """Stream records of processes into their stores, from where a killed job left them, and publish the stores."""
    found = staging.content or {"position": None, "writers": {}, "chunk_sizes": None}
    if found["chunk_sizes"]:
        experiment.cut(found["chunk_sizes"])
    writers = {
        process: Writer(
            staging.folder / target.name,
            experiment.shape(process, weights_stride=weights_stride),
            attrs,
            found["writers"].get(process),
        )
        for process, target in targets.items()
    }
    position, step = found["position"], staging.step

    def commit() -> None:
        held = {process: writer.position() for process, writer in writers.items()}
        staging.commit(step, {"position": position, "writers": held, "chunk_sizes": experiment.chunk_sizes})

    closing: dict[str, Any] = {"first_step": experiment.start.first_step}
    shown = {"total": experiment.steps, "name": str(next(iter(targets.values()))), "done": step, "log": log}
    try:
        with Interruption() as interruption:
            for each in progress(records(position), **shown):
                with interruption.whole():
                    for writer, record in zip(writers.values(), each, strict=True):
                        writer.append(record)
                    step, position = each[0].step + 1, each[0].position
                    if staging.due(step):
                        commit()
    except Stopped as stopped:
        closing["stopped"] = str(stopped)
        print(f"stopped: {stopped}", file=log)
    except Diverged as diverged:
        closing |= {"stopped": f"diverged at step {step}: {diverged}", "diverged": step}
        if not truncate:
            kept = [target.with_suffix(".diverged.zarr") for target in targets.values()]
            for process, target in zip(targets, kept, strict=True):
                writers[process].publish(target, **closing)
            raise Diverged(f"{diverged}. What was finite is in {', '.join(map(str, kept))}") from None
        print(closing["stopped"], file=log)
    except Interrupted:
        if position is not None:
            commit()
            print(f"what was done up to step {step} is kept; the same command goes on from there", file=log)
        raise
    for process, target in targets.items():
        writers[process].publish(target, **closing)


def stored_weights(path: Path) -> Callable[[int], Tensor | None]:
    """The weights of a stored trajectory by step, None where they were not kept; read a block of rows at a time."""
    store = open_trajectory(path)
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
        weights = held[index][row - index * block]
        return weights if torch.isfinite(weights[0]) else None  # a run that was stopped has none from there on

    return at


def stored_state(path: Path, state_names: tuple[str, ...], step: int = 0) -> Start:
    """Weights and optimizer state of a stored trajectory at the last step up to `step` at which they were kept."""
    store = open_trajectory(path)
    row = store.sel(saved_step=step, method="pad")
    state = tuple(torch.from_numpy(row[name].values) for name in state_names)
    return Start(torch.from_numpy(row.weights.values), state, int(store.attrs["first_step"]) - 1 + int(row.saved_step))


def begin(settings: schema.Trajectory, dataset: Dataset, device: torch.device, discrete: Path, midpoint: Path) -> Start:
    """Where a run begins that starts from another one, whose stores these are.

    The other run's own optimizer goes the last steps from where its state was kept, so any step can be reached.

    Raises:
        NoStart: the other run has no such step.
    """
    wanted, source = settings.run.start, build(settings.source, dataset, device)
    step = _step(wanted, discrete, midpoint)
    kept = stored_state(discrete, source.optimizer.state_names, step)
    source = replace(source, begin=kept, warm_start=0)
    taken = kept.steps - int(open_trajectory(discrete).attrs["first_step"]) + 1
    found = advanced(source.objective, source.optimizer, source.begin, step - taken)
    if wanted.keep == "preconditioner":
        counter = torch.tensor(float(found.first_step), dtype=torch.float64)
        preconditioner = source.optimizer.preconditioner(counter, found.state)
        found = found._replace(state=build(settings.run, dataset, device).optimizer.state_with(counter, preconditioner))
    return found


def store_speeds(
    experiment: Experiment, central: Path, target: Path, *, every: int, attrs: dict[str, Any], log: TextIO | None = None
) -> None:
    """Compare preconditioners along a stored central flow, at every so many of its steps; publish what is found."""
    store = open_trajectory(central)
    known = store.loss.notnull().values
    steps = [int(step) for step in store.saved_step.values if step % every == 0 and known[step]]

    def points() -> Iterator[tuple[int, Start]]:
        for step in progress(steps, total=len(steps), name=str(target), log=log):
            yield step, stored_state(central, experiment.optimizer.state_names, step)

    compared = compare(experiment, points(), tolerance=experiment.stationary.tolerance)
    write_dataset(target, compared.assign_attrs(attrs))


class NoStart(UserError):
    """The run to start from has no such step."""


def _step(wanted: schema.Start, discrete: Path, midpoint: Path) -> int:
    loss = open_trajectory(discrete).loss
    if wanted.step is not None:
        step, name = wanted.step, f"step {wanted.step}"
        step = step if bool(loss.sel(step=step).notnull()) else None
    elif wanted.crossing is not None:
        sharpness = open_trajectory(midpoint).effective_eigenvalues.isel(mode=0)
        step, name = metrics.upward_crossing(sharpness, wanted.crossing), f"upward crossing {wanted.crossing} of 2"
    else:
        step, name = metrics.first_not_above(loss, wanted.loss), f"loss down to {wanted.loss:g}"
    if step is None:
        raise NoStart(f"run {wanted.run!r} has no {name} in its {len(loss)} steps")
    return step
