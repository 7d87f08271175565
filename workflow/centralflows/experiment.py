"""One experiment: an objective, an optimizer, and the processes that start from the same weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import torch
import xarray as xr
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from . import config, models, optimizers
from .criteria import CRITERIA
from .data.examples import Dataset
from .derivatives import Points, value_and_gradient
from .discrete import Start, discrete_trajectory, warm_start
from .errors import Diverged
from .flows import AblatedFlow, CentralFlow, StableFlow
from .integrate import Integrator, Stopped, flow_trajectory
from .objective import Objective
from .observe import Observer
from .optimizers import Optimizer
from .probe import probe
from .progress import progress
from .spectrum import Tracker
from .trajectory import PROCESSES, Record, Shape, to_dataset

DiscreteWeights = Callable[[int], Tensor | None]


@dataclass(frozen=True, eq=False)
class Experiment:
    """An objective, an optimizer, and how its processes are followed.

    Args:
        objective: the training objective.
        optimizer: for example `GradientDescent(lr=0.02)`.
        steps: optimizer steps; every trajectory has a record at step 0 ... steps - 1.
        initial_weights: `[p]`, tensor or array; the network's own by default.
        warm_start: steps of the optimizer itself before step 0, where all processes start.
        examples: inputs on which the network's outputs are recorded, if any.
        spectrum, central, stable: settings, as in the configuration.
        seed: of the eigen-solver's first guess.

    Raises:
        ValueError: initial weights of another size, or a count below its least.
    """

    objective: Objective
    optimizer: Optimizer
    steps: int
    initial_weights: Float[Tensor, " p"] | Float[ndarray, " p"] | None = None
    examples: Tensor | None = None
    spectrum: config.Spectrum = field(default_factory=config.Spectrum)
    central: config.Central = field(default_factory=config.Central)
    stable: config.Stable = field(default_factory=config.Stable)
    seed: int = 0
    warm_start: int = 0

    def __post_init__(self):
        w = self.objective.initial_weights
        if self.initial_weights is not None:
            given = torch.as_tensor(self.initial_weights).detach()
            if given.shape != w.shape:
                raise ValueError(f"initial_weights must be one vector [{len(w)}], found {list(given.shape)}")
            w = given.to(w)
        if self.steps < 1 or self.warm_start < 0:
            raise ValueError(
                f"steps must be at least 1 and warm_start at least 0 (got {self.steps}, {self.warm_start})"
            )
        object.__setattr__(self, "initial_weights", w)

    def run(
        self, processes: str | Iterable[str] = ("discrete", "midpoint", "stable", "central")
    ) -> dict[str, xr.Dataset]:
        """Run processes in memory; one Dataset each, with the variables of `trajectory.PROCESSES`.

        The weights at every step are kept (`weights`). A flow that becomes too stiff ends early, and its attribute
        `stopped` says why.
        """
        processes = (processes,) if isinstance(processes, str) else tuple(processes)
        unknown = set(processes) - PROCESSES.keys()
        if unknown:
            raise ValueError(f"unknown process {', '.join(sorted(unknown))}")
        self.check()
        found: dict[str, xr.Dataset] = {}
        pairs = list(self._shown("discrete", self.discrete(midpoints="midpoint" in processes)))
        iterates = [pair[0] for pair in pairs]
        found["discrete"] = self._dataset("discrete", iterates)
        if "midpoint" in processes:
            found["midpoint"] = self._dataset("midpoint", [pair[1] for pair in pairs])
        for process in ("stable", "central", "ablated"):
            if process in processes:
                records, attrs = [], {}
                flow = self.flow(process, lambda step: torch.from_numpy(iterates[step].weights))
                try:
                    for record in self._shown(process, flow):
                        records.append(record)
                except Stopped as stopped:
                    attrs["stopped"] = str(stopped)
                found[process] = self._dataset(process, records).assign_attrs(attrs)
        return {process: found[process] for process in processes if process in found}

    def check(self) -> dict[str, float]:
        """Errors of the derivatives near the initial weights, all small.

        Raises:
            Diverged: weights, data, or the loss there are not finite.
            WrongDerivatives: automatic differentiation is wrong for this network.
        """
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
        return probe(objective, self.initial_weights)

    @cached_property
    def start(self) -> Start:
        """Where all processes start."""
        return warm_start(self.objective, self.optimizer, self.initial_weights, self.warm_start)

    def discrete(self, *, midpoints: bool = True) -> Iterator[tuple[Record, Record | None]]:
        """Records of the discrete run and of its midpoints."""
        observers = self._observer("discrete"), self._observer("midpoint")
        tracker = self._tracker() if midpoints else None
        return discrete_trajectory(
            observers, self.objective, self.optimizer, self.start, steps=self.steps, tracker=tracker
        )

    def flow(self, process: str, discrete_weights: DiscreteWeights = lambda step: None) -> Iterator[Record]:
        """Records of the "stable", "central" or "ablated" flow, beside the discrete run where its weights are known."""
        points = Points(self.objective)
        if process in ("central", "ablated"):
            settings = self.central
            flow = (CentralFlow if process == "central" else AblatedFlow)(
                points,
                self.optimizer,
                self.warm_start + 1,
                relaxation_time=1.0 / settings.substeps,
                critical_threshold=settings.critical_threshold,
                held_slack=settings.held_slack,
            )
            integrator, tracker, limit = Integrator(settings.method, settings.substeps), self._tracker(), math.inf
        else:
            flow = StableFlow(points, self.optimizer, self.warm_start + 1)
            settings = self.stable
            integrator = Integrator(settings.method, settings.substeps, settings.substeps_per_sharpness)
            tracker, limit = self._tracker(threshold=math.inf), settings.stop_at_sharpness

        def on_device(step: int) -> Tensor | None:
            weights = discrete_weights(step)
            return None if weights is None else weights.to(self.initial_weights)

        return flow_trajectory(
            self._observer(process),
            flow,
            integrator,
            self.start,
            steps=self.steps,
            tracker=tracker,
            discrete_weights=on_device,
            stop_at_sharpness=limit,
        )

    def shape(self, process: str, *, weights_stride: int = 1) -> Shape:
        """Sizes of a process's trajectory."""
        return Shape(
            process,
            self.steps,
            min(self.spectrum.maximum, self.objective.p),
            tuple(self._outputs(self.initial_weights).shape) if self.examples is not None else (0, 0),
            self.objective.p,
            weights_stride,
            str(self.initial_weights.dtype).removeprefix("torch."),
        )

    def _observer(self, process: str) -> Observer:
        return Observer(process, None if self.examples is None else self._outputs)

    def _outputs(self, w: Tensor) -> Tensor:
        """Network outputs on the recorded examples `[examples, outputs]`."""
        with torch.no_grad():
            return self.objective.outputs(w, self.examples).flatten(1)

    def _tracker(self, threshold: float | None = None) -> Tracker:
        settings = self.spectrum
        return Tracker(
            settings.threshold if threshold is None else threshold,
            settings.minimum,
            settings.maximum,
            settings.tolerance,
            self.seed,
        )

    def _shown(self, process: str, records: Iterable) -> Iterator:
        return progress(records, total=self.steps, name=process)

    def _dataset(self, process: str, records: list[Record]) -> xr.Dataset:
        dataset = to_dataset(records, self.shape(process)).assign_attrs(
            process=process, optimizer=repr(self.optimizer), warm_start=self.warm_start
        )
        if "tracked_modes" in dataset and len(records):
            dataset = dataset.isel(mode=slice(int(dataset.tracked_modes.max())))
        return dataset


def build(run: config.Run, dataset: Dataset, device: torch.device | str = "cpu") -> Experiment:
    """The experiment that a configuration describes, on a device."""
    network = models.build(run.model, dataset, seed=run.seed)
    inputs, labels = torch.from_numpy(dataset.inputs), torch.from_numpy(dataset.labels)
    objective = Objective(network, inputs, labels, CRITERIA[run.criterion], chunk_size=run.chunk_size)
    objective = objective.to(device, getattr(torch, run.dtype))
    examples = torch.from_numpy(dataset.test_inputs[: run.outputs]).to(device)
    if examples.is_floating_point():
        examples = examples.to(objective.inputs.dtype)
    return Experiment(
        objective,
        optimizers.build(run.optimizer),
        run.steps,
        examples=examples if run.outputs else None,
        spectrum=run.spectrum,
        central=run.central,
        stable=run.stable,
        seed=run.seed,
        warm_start=run.warm_start,
    )
