"""Accuracies on the training and test examples, as functions of the weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from .criteria import accuracy
from .objective import Objective


def accuracies(objective: Objective, test: tuple[Tensor, Tensor] | None = None) -> dict[str, Callable[[Tensor], float]]:
    """Return the accuracies [1] by recorded name, each as a function of the weights `[p]`.

    They are evaluated over the microbatches of the objective. If the labels are not classes, there is no accuracy.

    Args:
        objective: network, training examples and their labels.
        test: test inputs and labels, on any device; None for the training accuracy alone.

    Raises:
        ValueError: the numbers of labels and inputs differ.
    """
    labelled = {"accuracy": (objective.inputs, objective.targets)}
    if test is not None:
        labelled["test_accuracy"] = tuple(part.to(objective.initial_weights.device) for part in test)
    for inputs, labels in labelled.values():
        if len(inputs) != len(labels):
            raise ValueError(
                f"there must be a label for each input (got {len(inputs)} inputs and {len(labels)} labels)"
            )
    return {
        name: partial(_accuracy, objective, inputs, labels)
        for name, (inputs, labels) in labelled.items()
        if _are_classes(labels, objective.predictions(objective.initial_weights, inputs[:1]))
    }


def _accuracy(objective: Objective, inputs: Tensor, labels: Tensor, w: Tensor) -> float:
    return accuracy(objective.predictions(w, inputs), labels).item()


def _are_classes(labels: Tensor, outputs: Tensor) -> bool:
    """Return whether labels are classes, one for each output vector of an example."""
    return not labels.is_floating_point() and outputs.ndim > 1 and outputs.shape[1:-1] == labels.shape[1:]
