"""Accuracies on the training and the test examples, as functions of the weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from .criteria import accuracy
from .objective import Objective


def accuracies(objective: Objective, test: tuple[Tensor, Tensor] | None = None) -> dict[str, Callable[[Tensor], float]]:
    """Functions of the weights `[p]`, by the names that their values [1] are recorded under.

    They are evaluated over the slices of the objective. Where labels are no classes there is no accuracy.

    Args:
        objective: network, training examples and their labels.
        test: test inputs and labels, on any device; only that of the training examples without.
    """
    labelled = {"accuracy": (objective.inputs, objective.targets)}
    if test is not None:
        labelled["test_accuracy"] = tuple(part.to(objective.initial_weights.device) for part in test)
    return {
        name: partial(_accuracy, objective, inputs, labels)
        for name, (inputs, labels) in labelled.items()
        if _are_classes(labels, _outputs(objective, inputs[:1], objective.initial_weights))
    }


def _accuracy(objective: Objective, inputs: Tensor, labels: Tensor, w: Tensor) -> float:
    slices = inputs.split(objective.chunk_size)
    return accuracy(torch.cat([_outputs(objective, part, w) for part in slices]), labels).item()


def _outputs(objective: Objective, inputs: Tensor, w: Tensor) -> Tensor:
    with torch.no_grad():
        return objective.outputs(w, inputs)


def _are_classes(labels: Tensor, outputs: Tensor) -> bool:
    """Whether labels are classes, one for each vector of the outputs of an example."""
    return not labels.is_floating_point() and outputs.ndim > 1 and outputs.shape[1:-1] == labels.shape[1:]
