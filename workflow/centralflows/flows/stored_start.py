"""The start of a run that continues from the stored state of another run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from ..analysis.crossings import first_not_above, upward_crossing
from ..common.errors import UserError
from ..config.run import StartConfig, TrajectoryConfig
from ..problems.data.dataset import Dataset
from ..store.trajectory import open_trajectory
from .discrete_loop import Start, advance
from .make_experiment import make_experiment
from .starts import start_of


class NoStart(UserError):
    """The other run has no step that meets the configured condition."""


def stored_start(
    settings: TrajectoryConfig, dataset: Dataset, device: torch.device, discrete: Path, midpoint: Path
) -> Start:
    """Return the start of a run that starts from another run, given the other run's stores.

    The other run's own optimizer takes the last steps from the last stored state, so any step can be reached.

    Raises:
        NoStart: the other run has no such step.
    """
    wanted, source = settings.run.start, make_experiment(settings.source, dataset, device)
    step = _step(wanted, discrete, midpoint)
    kept = start_of(discrete, source.optimizer, step)
    source = replace(source, start_from=kept, warm_start=0)
    taken = kept.steps - int(open_trajectory(discrete).attrs["first_step"]) + 1
    found = advance(source.objective, source.optimizer, source.start_from, step - taken)
    if wanted.keep == "preconditioner":
        counter = torch.tensor(float(found.first_step), dtype=torch.float64)
        preconditioner = source.optimizer.preconditioner(counter, found.state)
        found = found._replace(
            state=make_experiment(settings.run, dataset, device).optimizer.state_with(counter, preconditioner)
        )
    return found


def _step(wanted: StartConfig, discrete: Path, midpoint: Path) -> int:
    loss = open_trajectory(discrete).loss
    if wanted.step is not None:
        step, name = wanted.step, f"step {wanted.step}"
        step = step if bool(loss.sel(step=step).notnull()) else None
    elif wanted.crossing is not None:
        sharpness = open_trajectory(midpoint).effective_eigenvalues.isel(mode=0)
        step, name = upward_crossing(sharpness, wanted.crossing), f"upward crossing {wanted.crossing} of 2"
    else:
        step, name = first_not_above(loss, wanted.loss), f"loss down to {wanted.loss:g}"
    if step is None:
        raise NoStart(f"run {wanted.run!r} has no {name} in its {len(loss)} steps")
    return step
