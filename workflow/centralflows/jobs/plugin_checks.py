"""A trial of the user-defined parts of runs on a few examples, before any job starts.

Otherwise a mistake in them would appear hours later, on another machine, as a traceback.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..common.errors import UserError
from ..config import plugins
from ..config.datasets import AnyDataset
from ..config.run import RunConfig
from ..derivatives.derivative_check import EXAMPLES, check_derivatives
from ..optimizers import optimizer_contract
from ..optimizers.make_optimizer import make_optimizer
from ..problems import criteria
from ..problems.data.class_labels import output_units
from ..problems.data.dataset import Dataset
from ..problems.data.make_dataset import make_dataset
from ..problems.networks.make_network import make_network
from ..problems.objective import Criterion, Objective

T = TypeVar("T")


class Unusable(UserError):
    """A part that does not do what the others need."""


def mistakes(runs: Mapping[str, RunConfig]) -> list[str]:
    """Return the mistakes in the user-defined parts of runs, as `key: message`.

    Every user-defined dataset is made once, in full; of the others a few examples are enough.
    """
    found: dict[str, list[str]] = {}
    datasets: dict[str, Dataset | Exception] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # fastest with few examples
    try:
        for name, run in runs.items():
            for key, message in _Trial(run, datasets).failures.items():
                found.setdefault(f"{key}: {message}", []).append(name)
    finally:
        torch.set_num_threads(threads)
    return [_line(names, message) for message, names in found.items()]


def _line(names: list[str], message: str) -> str:
    """Return one line for a mistake, with the first run that has it and the number of other runs."""
    key, _, said = message.partition(": ")
    more = f" (and of {len(names) - 1} more)" if len(names) > 1 else ""
    return f"runs.{names[0]}.{key}{more}: " + said.replace("\n", "\n  ")


class _Trial:
    """A trial of one run.

    Attributes:
        failures: the mistakes, by key of the run.
    """

    def __init__(self, run: RunConfig, datasets: dict[str, Dataset | Exception]):
        self.failures: dict[str, str] = {}
        for key, part in run.plugins.items():
            self._tried(key, lambda part=part: plugins.sources(part.name))
        if "optimizer" in run.plugins:
            self._tried("optimizer", lambda: optimizer_contract.check(make_optimizer(run.optimizer)))
        if run.plugins.keys() - {"optimizer"}:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the jobs will show the warnings
                self._learning(run, datasets)

    def _learning(self, run: RunConfig, datasets: dict[str, Dataset | Exception]) -> None:
        """Try the dataset, the network and the criterion, first each alone and then together."""
        dataset = self._tried("dataset", lambda: _once(datasets, run.dataset))
        criterion = self._tried("criterion", lambda: criteria.make_criterion(run.criterion))
        if dataset is None:
            return
        if run.outputs > len(dataset.test_inputs) and "dataset" in run.plugins:
            self.failures["outputs"] = (
                f"must be at most the test examples ({len(dataset.test_inputs)}) (got {run.outputs})"
            )
        network = self._tried("model", lambda: make_network(run.model, dataset, seed=run.seed))
        if network is None or criterion is None:
            return
        inputs = torch.from_numpy(dataset.inputs[:EXAMPLES])
        labels = torch.from_numpy(dataset.labels[:EXAMPLES])
        units = dataset.classes if isinstance(run.criterion, str) else None
        outputs = self._tried("model", lambda: _outputs(network, inputs, units))
        if outputs is None:
            return
        if self._tried("criterion", lambda: _loss(criterion, outputs, labels)) is not None:
            self._tried("model", lambda: _probed(network, inputs, labels, criterion, run.microbatch_size))

    def _tried(self, key: str, action: Callable[[], T]) -> T | None:
        """Return the result of an action, or None after noting its failure; user code may raise anything."""
        try:
            return action()
        except UserError as error:
            self.failures.setdefault(key, str(error))
        except Exception as error:
            self.failures.setdefault(key, f"{type(error).__name__}: {error}")
        return None


def _once(datasets: dict[str, Dataset | Exception], settings: AnyDataset) -> Dataset:
    """Return the dataset, or raise the error of making it; it is made at most once."""
    key = repr(settings)
    if key not in datasets:
        try:
            datasets[key] = _made(settings)
        except Exception as error:
            datasets[key] = error
    if isinstance(datasets[key], Exception):
        raise datasets[key]
    return datasets[key]


def _made(settings: AnyDataset) -> Dataset:
    if not settings.needs_full:
        return make_dataset(settings)
    # The full CIFAR-10 may not exist before its rule has run; the images of its subset have the same form.
    few = make_dataset(settings.model_copy(update={"classes": 2, "examples": 2, "test_examples": 2}))
    return few._replace(classes=output_units(settings.classes, settings.binary))


def _outputs(network: nn.Module, inputs: Tensor, units: int | None) -> Tensor:
    """Return the network's outputs, checked to have the `units` that a built-in criterion needs, if one is used."""
    outputs = network(inputs)
    if not isinstance(outputs, Tensor):
        raise Unusable(f"must return one tensor (returns {type(outputs).__name__})")
    if outputs.shape[:1] != inputs.shape[:1]:
        raise Unusable(f"must return outputs of each example (returns shape {list(outputs.shape)} for {len(inputs)})")
    if units is not None and outputs.shape[-1] != units:
        raise Unusable(f"must return {units} output units, one for each class (returns shape {list(outputs.shape)})")
    if not torch.isfinite(outputs).all():
        raise Unusable("its outputs at the initial weights are not finite")
    return outputs


def _loss(criterion: Criterion, outputs: Tensor, labels: Tensor) -> Tensor:
    loss: Any = criterion(outputs, labels)
    if isinstance(loss, Tensor) and loss.ndim and len(loss) == len(labels):
        loss = loss.mean()  # one value for each example; the objective says so
    if not isinstance(loss, Tensor) or loss.shape != ():
        got = f"shape {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise Unusable(f"must return a scalar tensor (returns {got})")
    if not torch.isfinite(loss):
        raise Unusable(f"the loss at the initial weights is not finite ({loss.item()})")
    return loss


def _probed(
    network: nn.Module, inputs: Tensor, labels: Tensor, criterion: Criterion, microbatch_size: int | str
) -> dict[str, float]:
    objective = Objective(network, inputs, labels, criterion, microbatch_size=microbatch_size)
    return check_derivatives(objective, objective.initial_weights)
