r"""How the loss of all examples adds up from microbatches: the fraction that each contributes.

A criterion that averages over $a_i$ items in microbatch i (examples, labels that count, their class weights)
contributes $a_i / \sum_j a_j$; one that sums contributes 1. torch's own criteria are known. For any other one, means
over examples and sums are tried in turn, and `Objective` compares the result with the loss of all examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from .trees import examples_of, tensors

Fractions = Callable[["list[Part]"], "list[float]"]

SUMS = {"sum"}
LABELLED = (nn.CrossEntropyLoss, nn.NLLLoss)  # average over labels that count, by the weights of their classes
LABELLED_FUNCTIONS = (functional.cross_entropy, functional.nll_loss)


class Part(NamedTuple):
    """A microbatch: its inputs and its targets."""

    inputs: Any
    targets: Any


def candidates(criterion: Callable) -> Iterator[Fractions]:
    """Yield the ways in which a criterion's losses may add up, the likeliest first."""
    weight = getattr(criterion, "weight", None)
    if callable(weight):  # torch's losses have a `weight` that is a tensor or None
        yield partial(mean, amount=lambda part: float(weight(part.targets)))
        return
    options = _options(criterion)
    if options.get("reduction") == "sum":
        yield total
    elif options:
        yield partial(mean, amount=partial(_labels, options))
    yield partial(mean, amount=_examples)
    yield total


def mean(parts: list[Part], amount: Callable[[Part], float]) -> list[float]:
    """Return the fractions of a criterion that averages over an amount of each part."""
    amounts = [amount(part) for part in parts]
    whole = sum(amounts) or 1.0  # if no label counts, the loss is zero
    return [each / whole for each in amounts]


def total(parts: list[Part]) -> list[float]:
    """Return the fractions of a criterion that sums."""
    return [1.0] * len(parts)


def _examples(part: Part) -> float:
    return float(examples_of(part.inputs, part.targets) or 1)


def _options(criterion: Callable) -> dict[str, Any]:
    """Return the options of one of torch's criteria, as far as they concern the reduction; empty for any other."""
    if isinstance(criterion, nn.modules.loss._Loss):
        found = {"reduction": criterion.reduction}
        if isinstance(criterion, LABELLED):
            found |= {"weight": criterion.weight, "ignore_index": criterion.ignore_index}
        return found
    function, given = (criterion.func, criterion.keywords) if isinstance(criterion, partial) else (criterion, {})
    if function in LABELLED_FUNCTIONS:
        return {"reduction": "mean", "weight": None, "ignore_index": -100} | given
    return {}


def _labels(options: dict[str, Any], part: Part) -> float:
    """Return the amount over which one of torch's criteria averages."""
    found = tensors(part.targets)
    if "ignore_index" not in options or len(found) != 1 or found[0].is_floating_point():
        return _examples(part)  # also the class weights of probabilities do not enter the amount
    labels: Tensor = found[0]
    kept = labels[labels != options["ignore_index"]]
    weight = options["weight"]
    return float(len(kept)) if weight is None else float(weight.to(kept.device).double()[kept].sum())
