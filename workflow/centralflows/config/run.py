"""The settings of a run: a dataset, a network, an optimizer, and the processes that start from the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import (
    Discriminator,
    Field,
    Tag,
)

from .criterion import AnyCriterion
from .datasets import AnyDataset
from .messages import BUILT_IN, NUMBER
from .networks import AnyNetwork, networks_for
from .optimizers import AnyOptimizer
from .processes import MARGIN, SETTLED, CentralConfig, SpectrumConfig, StableConfig, StationaryConfig
from .strict import AlsoText, Count, Name, Natural, PluginConfig, Positive, Strict


class StartConfig(Strict):
    """Start from the stored state of another run, at a step that is given or found from the data."""

    implementation: ClassVar[str] = "centralflows.flows.stored_start:stored_start"

    run: Name
    """a key of `runs`, with the same dataset, model, criterion and dtype"""
    step: Natural | None = None
    """step of that run to start at"""
    crossing: Count | None = None
    """upward crossing of 2, by the effective sharpness at the midpoints, to start at; 1 for the first"""
    loss: Positive | None = None
    """start at the first step whose loss is at most this"""
    keep: Literal["state", "preconditioner"] = "state"
    """state: keep the optimizer's state; preconditioner: keep the step sizes, and use the state that has them"""

    def mistakes(self) -> Iterator[str]:
        given = [key for key in ("step", "crossing", "loss") if getattr(self, key) is not None]
        if len(given) != 1:
            yield f"run: give one of step, crossing and loss (got {' and '.join(given) or 'none'})"


Process = Literal["discrete", "stable", "central", "ablated", "stationary", "stationary-ablated"]


MicrobatchSize = Annotated[
    Annotated[Count, Tag(NUMBER)] | Annotated[Literal["auto"], Tag(BUILT_IN)],
    Discriminator(lambda value: BUILT_IN if isinstance(value, str) else NUMBER),
]


class RunConfig(Strict):
    """One experiment: a network, a dataset, an optimizer, and the processes that start from the same weights."""

    dataset: AnyDataset
    """the training and test data"""
    model: AnyNetwork
    """the network"""
    optimizer: AnyOptimizer
    """the optimizer that trains it"""
    criterion: AnyCriterion = "mse"
    """mse: half the squared distance to the target, which is one-hot (-1 or 1 if two classes share one output unit);
    cross-entropy: the negative log-likelihood of the label; both are averaged over the labels that count; or
    user-defined"""
    steps: Count
    """optimizer steps recorded; the flows cover the same time"""
    warm_start: Natural = 0
    """optimizer steps before step 0, the start of all processes"""
    warm_start_lr: Positive | None = None
    """learning rate of these steps, so that runs at several learning rates share one start; the optimizer's own by
    default"""
    start: StartConfig | None = None
    """start from another run instead of the initial weights"""
    stop_at_loss: Positive | None = None
    """each process ends after the first step whose loss is at most this"""
    on_divergence: Literal["fail", "truncate"] = "fail"
    """if values are no longer finite, either the job fails, and the finite part is kept beside its output (fail), or
    the trajectory ends there, and figures and scorecard say so (truncate)"""
    processes: Annotated[tuple[Process, ...], Field(strict=False)] = ("discrete", "stable", "central")
    """what to run; the discrete run (with its midpoints) comes first and is always needed"""
    seed: Natural = 0
    """seed of the initial weights"""
    dtype: Literal["float32", "float64"] = "float32"
    """precision of weights and data"""
    weights_stride: Natural = 1
    """steps between stored weights and optimizer states (0: at step 0 only); distances to the discrete run exist only
    at these steps"""
    microbatch_size: MicrobatchSize = "auto"
    """examples per microbatch: the loss and its derivatives are summed over microbatches, and smaller ones need less
    memory; "auto" takes all examples at once, and halves the microbatches if memory runs out"""
    outputs: Natural = 3
    """number of test examples on which the network's outputs are recorded"""
    accuracy_every: Natural = 10
    """steps between measurements of the accuracy on training and test examples, if labels are classes (0: never)"""
    coordinates: Natural = 0
    """number of single weights, drawn by the seed, whose squared gradient, its prediction and optimizer state are
    recorded"""
    stationary_every: Natural = 0
    """steps between points of the central flow at which the stationary state and the preconditioners are found (0:
    never)"""
    average_width: Annotated[float, Field(gt=0, le=1e5), AlsoText] = 12.0
    """standard deviation of the Gaussian time averages [optimizer steps]"""
    spectrum: SpectrumConfig = SpectrumConfig()
    """which eigenvalues are tracked"""
    central: CentralConfig = CentralConfig()
    """how the central flow is integrated"""
    stable: StableConfig = StableConfig()
    """how the stable flow is integrated"""
    stationary: StationaryConfig = StationaryConfig()
    """how the stationary flows are integrated"""

    def mistakes(self) -> Iterator[str]:
        if self.optimizer.name == "gd":
            for process in ("stationary", "stationary-ablated"):
                if process in self.processes:
                    yield f"processes: gradient descent has no state that could settle; leave {process!r} out"
            if self.stationary_every:
                yield "stationary_every: gradient descent has no state that could settle; leave it out"
        if self.stationary_every and "central" not in self.processes:
            yield "stationary_every: follows the central flow; add it to processes"
        threshold, critical = self.spectrum.threshold, self.central.critical_threshold
        if {"central", "ablated"} & set(self.processes) and critical < threshold + MARGIN:
            yield f"central: critical_threshold must be {MARGIN:g} above spectrum.threshold ({threshold:g}) (got {critical:g})"
        if (
            self.stationary_every or any("stationary" in process for process in self.processes)
        ) and threshold > SETTLED:
            yield f"spectrum: threshold must be at most {SETTLED:g} for stationary states (got {threshold:g})"
        every, stride = self.stationary_every, self.weights_stride
        if every and stride and every % stride:
            yield f"stationary_every: must be a multiple of weights_stride ({stride}) (got {every})"
        if self.stationary_every and not self.weights_stride:
            yield "stationary_every: needs stored weights; set weights_stride to 1 or more"
        if "discrete" not in self.processes:
            yield "processes: must contain 'discrete'"
        if len(set(self.processes)) < len(self.processes):
            yield "processes: must not repeat"
        if self.dataset.kind is None:  # user-defined: kind and number of examples are known only once it is made
            return
        if self.dataset.kind not in self.model.takes:
            yield (
                f"model: {self.model.name!r} takes {' or '.join(self.model.takes)}, and dataset {self.dataset.name!r} has "
                f"{self.dataset.kind}; use {', '.join(networks_for(self.dataset.kind))}"
            )
        elif self.dataset.image_size and (reason := self.model.refuses(self.dataset.image_size)):
            yield f"model: does not fit dataset {self.dataset.name!r}: {reason}"
        if self.outputs > self.dataset.test_examples:
            yield f"outputs: must be at most dataset.test_examples ({self.dataset.test_examples}) (got {self.outputs})"

    @property
    def plugins(self) -> dict[str, PluginConfig]:
        """The user-defined parts, by their keys."""
        parts = {key: getattr(self, key) for key in ("dataset", "model", "criterion", "optimizer")}
        return {key: part for key, part in parts.items() if isinstance(part, PluginConfig)}


class TrajectoryConfig(Strict):
    """The settings that the trajectories of one run depend on: the parameter of their jobs."""

    run: RunConfig
    threads: int
    source: RunConfig | None = None
    """the run that `run.start` names"""
    plugins: dict[str, str] = Field(default={})
    """digests of the code of the run's plugins"""
    code: tuple[str, ...] = Field(default=(), strict=False)
    """references to the code of the network, the optimizer and the flow"""
