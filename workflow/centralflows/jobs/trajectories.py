"""Bodies of the jobs that make trajectories: a discrete run with its midpoints, and a flow beside it."""

from __future__ import annotations

from importlib import metadata

import torch

from ..common.references import load
from ..config.run import TrajectoryConfig
from ..derivatives.eigen_tracker import EigenTrackerState
from ..flows.critical_block import CriticalExpansion, FollowedThirdDerivatives
from ..flows.device import prepare
from ..flows.discrete_loop import DiscreteResumeState
from ..flows.flow import Frame
from ..flows.flow_loop import FlowResumeState
from ..flows.followed_directions import FollowedDirections
from ..flows.make_experiment import make_experiment
from ..problems.data import dataset
from ..provenance.environment import variables
from .checkpoint import CheckpointFolder
from .job import Job
from .store_trajectories import store_discrete, store_flow

NUMERICAL = ("clarabel", "numpy", "scipy", "torch", "torchdiffeq")
"""Packages whose version can change the last bits of a trajectory."""

KINDS = (
    DiscreteResumeState,
    FlowResumeState,
    EigenTrackerState,
    FollowedDirections,
    Frame,
    CriticalExpansion,
    FollowedThirdDerivatives,
)
"""Types that resume states consist of."""


def discrete(job: Job) -> None:
    """Run the discrete optimizer, and store its trajectory and that of its midpoints.

    Raises:
        NoStart: the run to start from has no such step.
        WrongDerivatives, Diverged, Interrupted: see `store_discrete`.
    """
    config = TrajectoryConfig.model_validate(job.config)
    device, examples, start = prepare(job.device, config.threads), dataset.load(job.input("dataset")), None
    if config.source is not None:
        stores = job.input("source_discrete"), job.input("source_midpoint")
        start = load(config.run.start.implementation)(config, examples, device, *stores)
    with checkpoints(job, "discrete", device) as folder:
        store_discrete(
            make_experiment(config.run, examples, device, start),
            job.output("discrete"),
            job.output("midpoint"),
            weights_stride=config.run.weights_stride,
            attrs=job.attrs(),
            checkpoints=folder,
            truncate=config.run.on_divergence == "truncate",
            log=job.log,
        )
        made = {"device": str(device), "threads": config.threads, "resumed": folder.resumed}
        for name in ("discrete", "midpoint"):
            job.record(f"{name}_manifest", name, **made)


def flow(job: Job) -> None:
    """Integrate a flow beside the stored discrete run, and store its trajectory.

    Raises:
        Diverged, Interrupted: see `store_flow`.
    """
    config = TrajectoryConfig.model_validate(job.config)
    device, examples = prepare(job.device, config.threads), dataset.load(job.input("dataset"))
    with checkpoints(job, "flow", device) as folder:
        store_flow(
            make_experiment(config.run, examples, device),
            job.wildcards["flow"],
            job.output("flow"),
            discrete=job.input("discrete"),
            weights_stride=config.run.weights_stride,
            attrs=job.attrs(),
            checkpoints=folder,
            truncate=config.run.on_divergence == "truncate",
            log=job.log,
        )
        made = {"device": str(device), "threads": config.threads, "resumed": folder.resumed}
        job.record("manifest", "flow", **made)


def checkpoints(job: Job, output: str, device: torch.device) -> CheckpointFolder:
    """Return the folder of a job's checkpoints, keyed by settings, code, inputs, device, versions and variables."""
    versions = {package: metadata.version(package) for package in NUMERICAL}
    key = {"attrs": job.attrs(), "device": device.type, "versions": versions, "variables": variables()}
    return CheckpointFolder(job.output(output), key, KINDS, job.log)
