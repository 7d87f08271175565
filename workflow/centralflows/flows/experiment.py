"""One experiment: an objective, an optimizer, and the processes that start from the same weights.

The file is longer than most because it holds the whole interface of the library.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int64
from numpy import ndarray
from torch import Tensor

from ..common.errors import Diverged, Stopped
from ..common.progress import progress
from ..config.processes import CentralConfig, IntegrationConfig, SpectrumConfig, StableConfig, StationaryConfig
from ..derivatives.derivative_check import check_derivatives
from ..derivatives.eigen_tracker import EigenTracker
from ..derivatives.evaluator import DerivativeEvaluator
from ..derivatives.point import value_and_gradient
from ..optimizers import optimizer_contract
from ..optimizers.optimizer import Optimizer
from ..problems.accuracies import accuracies
from ..problems.objective import Objective
from ..store.trajectory import PROCESSES, Record, Shape, to_dataset
from .discrete_loop import DiscreteResumeState, Start, advance, discrete_trajectory, first_start
from .flow_loop import FlowResumeState, flow_trajectory
from .input_subspace import Subspace, subspace_of
from .observer import Observer

DiscreteWeights = Callable[[int], Tensor | None]
SETTINGS = {
    "spectrum": SpectrumConfig,
    "central": CentralConfig,
    "stable": StableConfig,
    "stationary": StationaryConfig,
}
LEAST = {"steps": 1, "warm_start": 0, "seed": 0, "coordinates": 0, "accuracy_every": 0}


@dataclass(frozen=True, eq=False)
class Experiment:
    """An objective, an optimizer, and the settings with which its processes are followed.

    Args:
        objective: the training objective.
        optimizer: for example `GradientDescent(lr=0.02)`.
        steps: optimizer steps; every trajectory has a record at step 0 ... steps - 1.
        initial_weights: `[p]`, tensor or array; the network's own by default.
        warm_start: optimizer steps before step 0, at which all processes start.
        start_from: start to use instead of the initial weights, for example from a stored state.
        stop_at_loss: each process ends after the first step with a loss at or below it.
        coordinates: number of weights that are recorded individually; the seed determines which.
        examples: inputs on which the network's outputs are recorded, if any.
        accuracy_every: steps between measurements of the accuracy, if the targets are class labels; 0 for never.
        test: test inputs and their class labels, for the test accuracy.
        spectrum, central, stable, stationary: settings, as in the configuration.
        seed: of the eigen-solver's initial guess and of the choice of coordinates.

    Raises:
        ValueError: the initial weights have another size, or a count is below its minimum.
        TypeError: the optimizer or settings have a wrong type.
    """

    objective: Objective
    optimizer: Optimizer
    steps: int
    initial_weights: Float[Tensor, " p"] | Float[ndarray, " p"] | None = None
    examples: Tensor | None = None
    spectrum: SpectrumConfig = field(default_factory=SpectrumConfig)
    central: CentralConfig = field(default_factory=CentralConfig)
    stable: StableConfig = field(default_factory=StableConfig)
    stationary: StationaryConfig = field(default_factory=StationaryConfig)
    seed: int = 0
    warm_start: int = 0
    start_from: Start | None = None
    stop_at_loss: float | None = None
    coordinates: int = 0
    accuracy_every: int = 0
    test: tuple[Tensor, Tensor] | None = None

    def __post_init__(self):
        self._check_settings()
        w = self.objective.initial_weights
        if self.initial_weights is not None:
            given = torch.as_tensor(self.initial_weights).detach()
            if given.shape != w.shape:
                raise ValueError(f"initial_weights must be one vector [{len(w)}], found {list(given.shape)}")
            w = given.to(w)
        if self.start_from is not None:
            given = self.start_from
            given = given._replace(w=given.w.to(w), state=tuple(part.to(w) for part in given.state))
            object.__setattr__(self, "start_from", given)
            w = given.w
        object.__setattr__(self, "initial_weights", w)

    def _check_settings(self) -> None:
        if not isinstance(self.objective, Objective):
            raise TypeError(f"objective must be a centralflows.Objective (got {type(self.objective).__name__})")
        if not isinstance(self.optimizer, Optimizer):
            raise TypeError(f"optimizer must be one of centralflows.optimizers (got {type(self.optimizer).__name__})")
        for name, kind in SETTINGS.items():
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} must be a {kind.__name__} (got {getattr(self, name)!r})")
        for name, least in LEAST.items():
            count = getattr(self, name)
            if not isinstance(count, Integral) or count < least:
                raise ValueError(f"{name} must be a whole number, at least {least} (got {count!r})")
        if not isinstance(self.stop_at_loss, Real | None):
            raise TypeError(f"stop_at_loss must be a number or None (got {self.stop_at_loss!r})")
        if self.test is not None and len(self.test) != 2:
            raise ValueError(f"test must be inputs and labels (got {len(self.test)} parts)")

    def run(
        self, processes: str | Iterable[str] = ("discrete", "midpoint", "stable", "central")
    ) -> dict[str, xr.Dataset]:
        """Run processes in memory and return one Dataset each, with the variables of `trajectory.PROCESSES`.

        The weights at every step are kept (`weights`). A process that reaches one of its limits ends early, and its
        attribute `stopped` gives the reason.
        """
        processes = (processes,) if isinstance(processes, str) else tuple(processes)
        unknown = set(processes) - PROCESSES.keys()
        if unknown:
            raise ValueError(f"unknown process {', '.join(sorted(map(str, unknown)))}")
        self.check()
        discrete = self._collected(self._shown("discrete", self.discrete(midpoints="midpoint" in processes)))
        iterates = [pair[0] for pair in discrete.records]
        found = {"discrete": self._dataset("discrete", discrete._replace(records=iterates))}
        if "midpoint" in processes:
            found["midpoint"] = self._dataset(
                "midpoint", discrete._replace(records=[pair[1] for pair in discrete.records])
            )

        def discrete_weights(step: int) -> Tensor | None:
            return torch.from_numpy(iterates[step].weights) if step < len(iterates) else None

        for process in processes:
            if process not in found:
                records = self._shown(process, self.flow(process, discrete_weights))
                found[process] = self._dataset(process, self._collected(records))
        return {process: found[process] for process in processes if process in found}

    def check(self) -> dict[str, float]:
        """Return the errors of the derivatives near the initial weights; all of them are small.

        Raises:
            Diverged: weights, data, or the loss there are not finite.
            WrongDerivatives: automatic differentiation is wrong for this network.
            BrokenContract: the optimizer contradicts itself.
        """
        optimizer_contract.check(self.optimizer)
        objective = self.objective
        for name, value in (
            ("initial weights", self.initial_weights),
            ("inputs", objective.inputs),
            ("targets", objective.targets),
        ):
            if isinstance(value, Tensor) and not torch.isfinite(value).all():
                raise Diverged(f"the {name} hold values that are not finite")
        if not all(torch.isfinite(x).all() for x in value_and_gradient(objective, self.initial_weights)):
            raise Diverged("the loss or its gradient is not finite at the initial weights, before any step")
        return check_derivatives(objective, self.initial_weights)

    @cached_property
    def start(self) -> Start:
        """The start of all processes."""
        first = self.start_from or first_start(self.objective, self.optimizer, self.initial_weights)
        return advance(self.objective, self.optimizer, first, self.warm_start)

    @cached_property
    def subspace(self) -> Subspace:
        """The subspace in which flows and midpoints are followed, with its coordinates."""
        return subspace_of(self.objective, self.optimizer, self.start.w)

    def discrete(
        self, *, midpoints: bool = True, resume_state: DiscreteResumeState | None = None
    ) -> Iterator[tuple[Record, Record | None]]:
        """Yield the records of the discrete run and of its midpoints, from the start or from a resume state."""
        tracker, subspace = (self.tracker(), self.subspace) if midpoints else (None, None)
        observers = self._observer("discrete"), self._observer("midpoint", subspace)
        return discrete_trajectory(
            observers,
            self.objective,
            self.optimizer,
            self.start,
            steps=self.steps,
            tracker=tracker,
            subspace=subspace,
            resume_state=resume_state,
            stop_at_loss=self._loss_limit,
        )

    def flow(
        self,
        process: str,
        discrete_weights: DiscreteWeights = lambda step: None,
        *,
        resume_state: FlowResumeState | None = None,
    ) -> Iterator[Record]:
        """Yield the records of a flow, from the start or from a resume state.

        `discrete_weights` returns the discrete iterate at a step if it is known; records then compare the flow with it.
        """
        config = self.config_of(process)
        problem = DerivativeEvaluator(self.subspace.objective), self.optimizer, self.start.first_step
        flow, integrator = config.build(process, self.spectrum, *problem)
        tracker = self.tracker() if flow.follows_modes else self.tracker(threshold=math.inf)

        def on_device(step: int) -> Tensor | None:
            weights = discrete_weights(step)
            return None if weights is None else weights.to(self.initial_weights)

        return flow_trajectory(
            self._observer(process, self.subspace),
            flow,
            integrator,
            self.start,
            steps=self.steps,
            tracker=tracker,
            resume_state=resume_state,
            discrete_weights=on_device,
            subspace=self.subspace,
            stop_at_sharpness=config.sharpness_limit,
            stop_at_loss=self._loss_limit,
        )

    def config_of(self, process: str) -> IntegrationConfig:
        """Return the settings of a flow.

        Raises:
            KeyError: there is no such flow.
        """
        for config in (self.stable, self.central, self.stationary):
            if process in config.flows:
                return config
        raise KeyError(f"no flow is called {process!r}")

    @property
    def microbatch_sizes(self) -> tuple[int, int]:
        """Current examples per microbatch, of the objective and of its restriction to the subspace of the flows.

        They are smaller than at first if memory has run out.
        """
        return self.objective.microbatch_size, self.subspace.objective.microbatch_size

    def set_microbatch_size(self, sizes: tuple[int, int]) -> None:
        """Set the microbatch sizes to values of `microbatch_sizes`, if they may adapt."""
        if self.objective.adapts:
            self.objective.set_microbatch_size(sizes[0])
            self.subspace.objective.set_microbatch_size(sizes[1])

    def shape(self, process: str, *, weights_stride: int = 1) -> Shape:
        """Return the sizes of a process's trajectory."""
        return Shape(
            process,
            self.steps,
            min(self.spectrum.maximum, self.objective.p),
            tuple(self._outputs(self.initial_weights).shape) if self.examples is not None else (0, 0),
            self.objective.p,
            weights_stride,
            str(self.initial_weights.dtype).removeprefix("torch."),
            tuple(int(i) for i in self._coordinates),
            () if process == "midpoint" else self._states,
            () if process == "midpoint" else tuple(self._accuracies),
        )

    @cached_property
    def _states(self) -> tuple[tuple[str, int], ...]:
        """Names and sizes of the parts of the optimizer's state."""
        return tuple(zip(self.optimizer.state_names, map(len, self.start.state), strict=True))

    @cached_property
    def _coordinates(self) -> Int64[ndarray, " c"]:
        """Indices of the weights that are recorded individually, the same in every process."""
        count = min(self.coordinates, self.objective.p)
        return np.sort(np.random.default_rng(self.seed).choice(self.objective.p, size=count, replace=False))

    @cached_property
    def _accuracies(self) -> dict[str, Callable[[Tensor], float]]:
        return accuracies(self.objective, self.test) if self.accuracy_every else {}

    @property
    def _loss_limit(self) -> float:
        return -math.inf if self.stop_at_loss is None else self.stop_at_loss

    def _observer(self, process: str, subspace: Subspace | None = None) -> Observer:
        return Observer(
            process,
            None if self.examples is None else self._outputs,
            coordinates=self._coordinates,
            subspace=subspace,
            hessian=self.hessian_tracker(),
            hessian_every=self.spectrum.hessian_every,
            accuracies={} if process == "midpoint" else self._accuracies,
            accuracy_every=self.accuracy_every,
        )

    def _outputs(self, w: Tensor) -> Tensor:
        """Return the network outputs on the recorded examples `[examples, outputs]`."""
        return self.objective.predictions(w, self.examples).reshape(len(self.examples), -1)

    def tracker(self, threshold: float | None = None) -> EigenTracker:
        """Return an eigen-tracker with this experiment's settings."""
        settings = self.spectrum
        threshold = settings.threshold if threshold is None else threshold
        return EigenTracker(threshold, settings.minimum, settings.maximum, settings.tolerance, threshold, self.seed)

    def hessian_tracker(self) -> EigenTracker:
        """Return an eigen-tracker of the Hessian itself, whose eigenvalues have no threshold."""
        return replace(self.tracker(threshold=math.inf), exact_from=-math.inf)

    def _shown(self, process: str, records: Iterable) -> Iterator:
        return progress(records, total=self.steps, name=process)

    def _collected(self, records: Iterable) -> _Collected:
        """Return all records in memory, and the reason if they ended early."""
        kept, attrs = [], {}
        try:
            for record in records:
                # Resume states hold eigenvectors and more; nothing resumes from them in memory.
                pair = record if type(record) is tuple else (record,)
                bare = tuple(part and part._replace(resume_state=None) for part in pair)
                kept.append(bare if type(record) is tuple else bare[0])
        except Stopped as stopped:
            attrs["stopped"] = str(stopped)
        return _Collected(kept, attrs)

    def _dataset(self, process: str, collected: _Collected) -> xr.Dataset:
        dataset = to_dataset(collected.records, self.shape(process)).assign_attrs(
            process=process, optimizer=repr(self.optimizer), first_step=self.start.first_step, **collected.attrs
        )
        if "tracked_modes" in dataset and len(collected.records):
            dataset = dataset.isel(mode=slice(int(dataset.tracked_modes.max())))
        return dataset


class _Collected(NamedTuple):
    records: list
    attrs: dict[str, str]
