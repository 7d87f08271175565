"""One experiment: an objective, an optimizer, and the processes that start from the same weights.

The file is longer than most because it holds the whole interface of the library.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int64
from numpy import ndarray
from torch import Tensor

from ..common.errors import Stopped, UserError
from ..common.progress import progress
from ..common.references import load
from ..config.messages import instead
from ..config.processes import CentralConfig, IntegrationConfig, SpectrumConfig, StableConfig, StationaryConfig
from ..derivatives.derivative_check import Check, check_derivatives
from ..derivatives.eigen_tracker import EigenTracker
from ..derivatives.evaluator import DerivativeEvaluator
from ..optimizers import optimizer_contract
from ..optimizers.optimizer import Optimizer
from ..problems.accuracies import accuracies
from ..problems.objective import Objective
from ..problems.trees import moved
from ..store.trajectory import PROCESSES, Record, Shape
from .device import full_precision
from .discrete_loop import DiscreteResumeState, Start, advance, discrete_trajectory, first_start
from .flow_loop import FlowResumeState, flow_trajectory
from .in_memory import collected, stride_in_memory, weights_of
from .input_subspace import Subspace, subspace_of
from .observer import Observer
from .preflight import check_values, warn_beyond_the_edge
from .starts import Trajectory, start_of

LOG = logging.getLogger(__name__)

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
        warm_start_optimizer: the optimizer that takes these steps, for a start that runs at several learning rates share;
            the experiment's own by default. Its state must have the same form.
        start_from: start to use instead of the initial weights, for example from a stored state.
        stop_at_loss: each process ends after the first step with a loss at or below it.
        coordinates: number of weights that are recorded individually; the seed determines which.
        examples: inputs on which the network's outputs are recorded, if any.
        accuracy_every: steps between measurements of the accuracy, if the targets are class labels; 0 for never.
        test: test inputs and their class labels, for the test accuracy.
        device: where everything is computed, for example "cuda"; None leaves the objective where it is.
        dtype: floating dtype of weights, data and all that is computed: `torch.float32` or `torch.float64`; None leaves
            that of the objective.
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
    examples: Any = None
    spectrum: SpectrumConfig = field(default_factory=SpectrumConfig)
    central: CentralConfig = field(default_factory=CentralConfig)
    stable: StableConfig = field(default_factory=StableConfig)
    stationary: StationaryConfig = field(default_factory=StationaryConfig)
    seed: int = 0
    warm_start: int = 0
    warm_start_optimizer: Optimizer | None = None
    start_from: Start | None = None
    stop_at_loss: float | None = None
    coordinates: int = 0
    accuracy_every: int = 0
    test: tuple[Any, Tensor] | None = None
    device: torch.device | str | None = None
    dtype: torch.dtype | None = None

    def __post_init__(self):
        self._check_settings()
        if self.device is not None or self.dtype is not None:
            object.__setattr__(self, "objective", self.objective.to(self.device, self.dtype))
        w = self.objective.initial_weights
        if self.initial_weights is not None:
            given = torch.as_tensor(self.initial_weights).detach()
            if given.shape != w.shape:
                raise ValueError(f"initial_weights must be one vector [{len(w)}], found {list(given.shape)}")
            w = given.to(w)
        if self.start_from is not None:
            given = self.start_from
            if given.w.shape != w.shape:
                raise ValueError(
                    f"the start must have {len(w)} weights, found {len(given.w)}: it is from another network"
                )
            given = given._replace(w=given.w.to(w), state=tuple(part.to(w) for part in given.state))
            object.__setattr__(self, "start_from", given)
            w = given.w
        object.__setattr__(self, "initial_weights", w)

    def _check_settings(self) -> None:
        if not isinstance(self.objective, Objective):
            raise TypeError(f"objective must be a centralflows.Objective (got {type(self.objective).__name__})")
        if not isinstance(self.optimizer, Optimizer):
            got = (
                f"the class {self.optimizer.__name__}"
                if isinstance(self.optimizer, type)
                else type(self.optimizer).__name__
            )
            raise TypeError(f"optimizer must be one of centralflows.optimizers, with its arguments (got {got})")
        if not isinstance(self.warm_start_optimizer, Optimizer | None):
            raise TypeError(f"warm_start_optimizer must be an optimizer or None (got {self.warm_start_optimizer!r})")
        for name, kind in SETTINGS.items():
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} must be a {kind.__name__} (got {getattr(self, name)!r})")
        for name, least in LEAST.items():
            count = getattr(self, name)
            if not isinstance(count, Integral) or count < least:
                raise ValueError(f"{name} must be a whole number, at least {least} (got {count!r})")
        if self.dtype not in (None, torch.float32, torch.float64):
            raise ValueError(f"dtype must be torch.float32 or torch.float64 (got {self.dtype!r})")
        if self.device is not None and torch.device(self.device).type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device {str(self.device)!r}: torch finds no GPU; leave device out")
        if not isinstance(self.stop_at_loss, Real | None):
            raise TypeError(f"stop_at_loss must be a number or None (got {self.stop_at_loss!r})")
        if self.test is not None and len(self.test) != 2:
            raise ValueError(f"test must be inputs and labels (got {len(self.test)} parts)")

    def run(
        self,
        processes: str | Iterable[str] = ("discrete", "midpoint", "stable", "central"),
        *,
        steps: int | None = None,
        start: Trajectory | None = None,
        save_to: Path | str | None = None,
        weights_every: int | None = None,
        check: Check = "warn",
    ) -> dict[str, xr.Dataset]:
        """Run processes and return one Dataset each, with the variables of `trajectory.PROCESSES`.

        A process that reaches one of its limits, diverges, or has no solution ends early, and its attribute `stopped`
        gives the reason; the others are not affected. Ctrl-C ends the run in the same way. Flows are compared with the
        discrete run at every step.

        Args:
            steps: another number of steps than the experiment's.
            start: trajectory at whose last step all processes start, with its weights and optimizer state, in the place of
                `initial_weights` and `warm_start`: a Dataset in memory or the path of a store, of the optimizer or of a
                flow. The first row of the result is that step.
            save_to: folder for one Zarr store of each process, `<process>.zarr`, written as the run proceeds. The same
                call goes on where an interrupted one stopped, also with more steps; Ctrl-C then raises an error.
            weights_every: steps between the weights that are kept; 0 for those of the first step only. The default is 1,
                or 0 if the weights of one trajectory would take more than 2 GiB of memory.
            check: what the derivative check does with a loss that is not smooth: "warn" or "refuse" it. "off" skips the
                check, so that wrong derivatives are not noticed either.

        Raises:
            ValueError: a process or an argument is unknown.
            UserError: a check fails (see `check`).
        """
        processes = (processes,) if isinstance(processes, str) else tuple(processes)
        unknown = set(processes) - PROCESSES.keys()
        if unknown:
            listed = ", ".join(sorted(map(str, unknown)))
            raise ValueError(f"unknown process {listed}{instead(next(iter(unknown)), PROCESSES)}")
        changes: dict[str, Any] = {} if steps is None else {"steps": steps}
        if start is not None:
            changes |= {"start_from": start_of(start, self.optimizer), "warm_start": 0, "initial_weights": None}
        experiment = replace(self, **changes, device=None, dtype=None) if changes else self
        with full_precision():
            experiment.check(check)
            if {"central", "ablated"} & set(processes):
                warn_beyond_the_edge(experiment.sharpness_at_start)
            if save_to is not None:
                save = load("centralflows.jobs.saved_run:save")
                stride = stride_in_memory(1 if weights_every is None else weights_every, 0)
                return save(experiment, Path(save_to), processes, stride)
            needed = experiment.steps * experiment.objective.p * experiment.initial_weights.element_size()
            return experiment._run(processes, stride_in_memory(weights_every, needed))

    def _run(self, processes: tuple[str, ...], stride: int) -> dict[str, xr.Dataset]:
        found, shapes = {}, {process: self.shape(process, weights_stride=stride) for process in processes}
        iterates: list[Record] = []
        if {"discrete", "midpoint"} & set(processes):
            pairs = collected(self._shown("discrete", self.discrete(midpoints="midpoint" in processes)), stride)
            iterates = pairs.only(0).records
            for index, process in enumerate(("discrete", "midpoint")):
                if process in processes:
                    found[process] = pairs.only(index).dataset(shapes[process], self.description)
            if pairs.interrupted:
                return found
        for process in processes:
            if process not in found:
                weights = weights_of(iterates) if iterates and stride == 1 else self.iterates()
                run = collected(self._shown(process, self.flow(process, weights)), stride)
                found[process] = run.dataset(shapes[process], self.description)
                if run.interrupted:
                    break
        return {process: found[process] for process in processes if process in found}

    def iterates(self) -> DiscreteWeights:
        """Return the discrete weights as a function of the step, from an optimizer that runs beside; steps must rise."""
        running = self.discrete(midpoints=False, observed=False)

        def following(step: int) -> Tensor | None:
            try:
                for record, _ in running:
                    if record.step == step:
                        return torch.from_numpy(record.weights)
            except (UserError, Stopped):  # the discrete run has ended; the flow need not
                pass
            return None

        return following

    def check(self, check: Check = "warn") -> dict[str, float]:
        """Return the errors of the derivatives near the initial weights; all of them are small.

        Args:
            check: what happens if the loss is not smooth (see `run`).

        Raises:
            Diverged: weights, data, or the loss there are not finite.
            UnusableNetwork, OtherWeights: the loss cannot be evaluated, or depends on other parameters.
            WrongDerivatives: automatic differentiation is wrong for this network.
            NotSmooth: the loss is not smooth, and `check` is "refuse".
            BrokenContract: the optimizer contradicts itself.
        """
        optimizer_contract.check(self.optimizer)
        check_values(self.objective, self.initial_weights)
        errors = check_derivatives(self.objective, self.initial_weights, check)
        if self.objective.replaced:
            LOG.info("functions with exact derivatives in place of torch's: %s", ", ".join(self.objective.replaced))
        return errors

    @property
    def sharpness_at_start(self) -> float:
        """Effective sharpness at the start; the optimizer is stable up to 2."""
        step = torch.tensor(float(self.start.first_step), dtype=torch.float64)
        preconditioner = self.optimizer.preconditioner(step, self.start.state).to(self.start.w)
        point = DerivativeEvaluator(self.subspace.objective).at(self.subspace.coordinates(self.start.w))
        return self.tracker(threshold=math.inf).update(point, preconditioner).values[0].item()

    @cached_property
    def start(self) -> Start:
        """The start of all processes."""
        optimizer = self.warm_start_optimizer or self.optimizer
        first = self.start_from or first_start(self.objective, optimizer, self.initial_weights)
        return advance(self.objective, optimizer, first, self.warm_start)

    @cached_property
    def subspace(self) -> Subspace:
        """The subspace in which flows and midpoints are followed, with its coordinates."""
        return subspace_of(self.objective, self.optimizer, self.start.w)

    def discrete(
        self, *, midpoints: bool = True, observed: bool = True, resume_state: DiscreteResumeState | None = None
    ) -> Iterator[tuple[Record, Record | None]]:
        """Yield the records of the discrete run and of its midpoints, from the start or from a resume state.

        Args:
            midpoints: whether there are records of the midpoints.
            observed: whether outputs and accuracies are measured.
        """
        tracker, subspace = (self.tracker(), self.subspace) if midpoints else (None, None)
        observers = self._observer("discrete", observed=observed), self._observer("midpoint", subspace)
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
            () if process == "midpoint" else self.optimizer.state_units,
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
        found = accuracies(self.objective, self.test) if self.accuracy_every else {}
        if self.accuracy_every and not found:
            warnings.warn(
                "no accuracy is recorded: the targets are not class labels, one for each output vector", stacklevel=2
            )
        return found

    @property
    def _loss_limit(self) -> float:
        return -math.inf if self.stop_at_loss is None else self.stop_at_loss

    def _observer(self, process: str, subspace: Subspace | None = None, *, observed: bool = True) -> Observer:
        if not observed:
            return Observer(process)
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
        found = self.objective.predictions(w, moved(self.examples, w.device))
        return found.reshape(len(found), -1)

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

    @property
    def description(self) -> dict[str, Any]:
        """What a trajectory says of its optimizer and of the problem, as attributes of its Dataset."""
        return {
            "optimizer": repr(self.optimizer),
            "optimizer_name": type(self.optimizer).__name__,
            "isotropic": int(self.optimizer.isotropic),
            "learning_rate": self.optimizer.learning_rate_label,
            "first_step": self.start.first_step,
            "replaced": ", ".join(self.objective.replaced),
        }
