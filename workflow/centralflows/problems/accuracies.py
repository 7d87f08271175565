"""Accuracies on the training and test examples, as functions of the weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from .criteria import accuracy, counted
from .objective import Objective
from .trees import examples_of, moved, part_of


def accuracies(objective: Objective, test: tuple[Tensor, Tensor] | None = None) -> dict[str, Callable[[Tensor], float]]:
    """Return the accuracies [1] by recorded name, each as a function of the weights `[p]`.

    They are evaluated over the microbatches of the objective. If the targets are not class labels, there is no accuracy.

    Args:
        objective: network, training examples and their labels.
        test: test inputs and labels, on any device; None for the training accuracy alone.

    Raises:
        ValueError: the numbers of labels and inputs differ.
    """
    labelled = {"accuracy": [tuple(part) for part in objective.batches]}
    if test is not None:
        labelled["test_accuracy"] = [tuple(moved(part, objective.initial_weights.device) for part in test)]
    for parts in labelled.values():
        for inputs, labels in parts:
            if isinstance(labels, Tensor) and (examples := examples_of(inputs)) not in (None, len(labels)):
                raise ValueError(
                    f"there must be a label for each input (got {examples} inputs and {len(labels)} labels)"
                )
    return {
        name: partial(_accuracy, objective, parts)
        for name, parts in labelled.items()
        if all(_are_classes(objective, *part) for part in parts)
    }


def _accuracy(objective: Objective, parts: list[tuple[Any, Tensor]], w: Tensor) -> float:
    found = [
        (accuracy(objective.predictions(w, moved(x, w.device)), y.to(w.device)), counted(y).sum()) for x, y in parts
    ]
    return sum(float(share * count) for share, count in found) / max(sum(int(count) for _, count in found), 1)


def _are_classes(objective: Objective, inputs: Any, labels: Any) -> bool:
    """Return whether labels are classes, one for each output vector of an example."""
    if not isinstance(labels, Tensor) or labels.is_floating_point() or examples_of(inputs) is None:
        return False
    w = objective.initial_weights
    outputs = objective.predictions(w, moved(part_of(inputs, 0, 1), w.device))
    return outputs.ndim > 1 and outputs.shape[1:-1] == labels.shape[1:]
