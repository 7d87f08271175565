"""The job that compares preconditioners along a stored central flow."""

from __future__ import annotations

from collections.abc import Iterator

from ..common.progress import progress
from ..config.run import TrajectoryConfig
from ..flows.device import prepare
from ..flows.discrete_loop import Start
from ..flows.make_experiment import make_experiment
from ..flows.preconditioner_speeds import compare, steps_along
from ..flows.starts import start_of
from ..problems.data import dataset
from ..store.zarr_writer import write_dataset
from .job import Job


def compare_preconditioners(job: Job) -> None:
    """Compare preconditioners every `stationary_every` steps of the central flow, and store the results."""
    config = TrajectoryConfig.model_validate(job.config)
    device = prepare(job.device, config.threads)
    experiment = make_experiment(config.run, dataset.load(job.input("dataset")), device)
    central, target = job.input("central"), job.output("speeds")
    steps = steps_along(central, config.run.stationary_every)

    def points() -> Iterator[tuple[int, Start]]:
        for step in progress(steps, total=len(steps), name=str(target), log=job.log):
            yield step, start_of(central, experiment.optimizer, step)

    compared = compare(experiment, points(), tolerance=config.run.stationary.tolerance)
    write_dataset(target, compared.assign_attrs(job.attrs()))
    job.record("manifest", "speeds", device=str(device), threads=config.threads)
