"""Runs of the library that are written to disk as they proceed: a folder with one store for each process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import xarray as xr

from ..common.errors import UnusableData
from ..common.hashing import digest
from ..derivatives.point import value_and_gradient
from ..flows.experiment import Experiment
from ..flows.stored_run import stored_weights
from ..problems.trees import tensors
from ..store.trajectory import open_run, open_trajectory
from .checkpoint import CheckpointFolder
from .interruption import Interrupted
from .lock import Lock
from .store_trajectories import stored
from .trajectories import KINDS

VERSIONS = ("centralflows", "torch", "numpy")


def save(experiment: Experiment, folder: Path, processes: Iterable[str], weights_every: int) -> dict[str, xr.Dataset]:
    """Run processes into stores of a folder, and return them, opened lazily.

    A store that is there already is kept if it has all steps, and continued if it has fewer.

    Raises:
        UnusableData: the folder holds a store of another run, or is a file.
        Locked: another process writes into it.
        KeyboardInterrupt: Ctrl-C; a checkpoint keeps the finished steps, and the same call goes on there.
    """
    if folder.exists() and not folder.is_dir():
        raise UnusableData(f"{folder} is a file; save_to needs a folder")
    with Lock(folder / "run"):
        return _save(experiment, folder, tuple(processes), weights_every)


def _save(
    experiment: Experiment, folder: Path, processes: tuple[str, ...], weights_every: int
) -> dict[str, xr.Dataset]:
    attrs = _identity(experiment, weights_every)
    targets = {process: folder / f"{process}.zarr" for process in processes}
    for target in targets.values():
        _refuse_another(target, attrs)

    def job(names: tuple[str, ...], records: Callable[[Any], Any]) -> None:
        if all(_holds(targets[name], experiment.steps) for name in names):
            return
        try:
            with CheckpointFolder(targets[names[0]], attrs | {"processes": names}, KINDS) as checkpoints:
                stored(
                    experiment,
                    {name: targets[name] for name in names},
                    records,
                    weights_stride=weights_every,
                    attrs=attrs,
                    checkpoints=checkpoints,
                    truncate=True,
                    log=None,
                    ends=(ArithmeticError, MemoryError),
                    extends=True,
                )
        except Interrupted as interrupted:
            raise KeyboardInterrupt(f"{interrupted}; the same call goes on from the checkpoint") from None

    optimizer = tuple(name for name in ("discrete", "midpoint") if name in processes)
    if optimizer:
        midpoints = "midpoint" in optimizer
        kept = slice(None) if optimizer == ("discrete", "midpoint") else slice(1, 2) if midpoints else slice(0, 1)
        job(
            optimizer,
            lambda state: (
                _with_state(pair, kept) for pair in experiment.discrete(midpoints=midpoints, resume_state=state)
            ),
        )
    for process in processes:
        if process not in optimizer:
            at_every_step = "discrete" in processes and weights_every == 1
            weights = stored_weights(targets["discrete"]) if at_every_step else experiment.iterates()
            job(
                (process,),
                lambda state, process=process, weights=weights: (
                    (record,) for record in experiment.flow(process, weights, resume_state=state)
                ),
            )
    return {name: dataset for name, dataset in open_run(folder, experiment.steps).items() if name in processes}


def _with_state(pair: tuple, kept: slice) -> tuple:
    """Return the wanted records of a pair; the first of them carries the state to resume from."""
    first, *rest = pair[kept]
    return first._replace(resume_state=pair[0].resume_state), *rest


def _holds(target: Path, steps: int) -> bool:
    return target.exists() and open_trajectory(target).sizes["step"] >= steps


def _refuse_another(target: Path, identity: dict[str, str]) -> None:
    if not target.exists():
        return
    held = open_trajectory(target).attrs
    other = [name.removeprefix("digest_of_") for name in identity if held.get(name) != identity[name]]
    if other:
        hint = " (torch.manual_seed makes the same initial weights again)" if "weights" in other else ""
        raise UnusableData(f"{target} holds a run of other {', '.join(other)}{hint}; give another folder, or remove it")


def _identity(experiment: Experiment, weights_every: int) -> dict[str, str]:
    """Return digests of all that a run depends on, except its number of steps, as attributes of its stores."""
    objective, start = experiment.objective, experiment.start_from
    weights = [experiment.initial_weights, start and start.state]
    settings = [
        repr(each)
        for each in (
            experiment.optimizer, experiment.spectrum, experiment.central, experiment.stable, experiment.stationary,
            experiment.seed, experiment.warm_start, experiment.warm_start_optimizer, experiment.stop_at_loss,
            experiment.coordinates, experiment.accuracy_every, objective.network, objective.l2,
            objective.initial_weights.device.type, start and start.steps, weights_every,
        )
    ]  # fmt: skip
    named = getattr(objective.criterion, "__qualname__", type(objective.criterion).__qualname__)
    return {
        "digest_of_weights": _content(weights),
        # No digest knows what a criterion or a network computes; the loss and its gradient at the start do.
        "digest_of_loss": _content(value_and_gradient(objective, experiment.initial_weights)),
        "digest_of_data": _content([*objective.batches, experiment.examples, experiment.test]),
        "digest_of_settings": digest([*settings, named]),
        "digest_of_versions": digest({package: metadata.version(package) for package in VERSIONS}),
    }


def _content(data: Any) -> str:
    """Return a digest of all tensors in nested data."""
    found = hashlib.sha256()
    for x in tensors(data):
        found.update(str((x.dtype, tuple(x.shape))).encode())
        found.update(x.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
