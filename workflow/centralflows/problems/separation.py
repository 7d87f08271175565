r"""How the loss of all examples adds up from microbatches: the fraction that each contributes.

A criterion that averages over $a_i$ items in microbatch i (examples, labels that count, their class weights)
contributes $a_i / \sum_j a_j$; one that sums contributes 1. torch's own criteria are known. For any other one, means
over examples and sums are tried in turn, and `Objective` compares the result with the loss of all examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ..common.errors import UserError
from .batches import Part
from .memory import ran_out_of_memory
from .trees import examples_of, tensors

Fractions = Callable[[list[Part]], list[float]]

COMPARED = 4
"""Number of divisions into microbatches whose losses are compared."""

LABELLED = (nn.CrossEntropyLoss, nn.NLLLoss)  # average over labels that count, by the weights of their classes
LABELLED_FUNCTIONS = (functional.cross_entropy, functional.nll_loss)


class NotSeparable(UserError, ValueError):
    """The loss over all examples is not the sum of the contributions of microbatches."""


def found_fractions(objective: Any, w: Float[Tensor, " p"]) -> Fractions:
    """Return how the losses of an objective's microbatches add up.

    The losses in microbatches of several sizes are compared, over all examples and in float64. The comparison is made
    near `w`, at a distance: losses that are equal for all examples would hide a difference.

    Args:
        objective: the `Objective` (a module that imports this one).

    Raises:
        NotSeparable: they do not add up.
    """
    wide = objective.to(dtype=torch.float64)
    shift = torch.randn(w.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(w.device)
    w = w.double() + 0.1 * (w.norm() if w.norm() > 0 else 1.0) / shift.norm() * shift
    first_tried: dict[int, float] = {}
    for wide.fractions in candidates(objective.criterion):
        losses = _losses_by_size(wide, w, _compared_sizes(objective))
        reference, *others = losses.values() or [0.0]  # nothing fits into memory: no other loss will come of it
        if all(abs(each - reference) <= 1e-6 * abs(reference) + 1e-12 for each in others):
            return wide.fractions
        first_tried = first_tried or losses
    size, *others = first_tried
    other = max(others, key=lambda each: abs(first_tried[each] - first_tried[size]))
    raise NotSeparable(
        f"the loss is {first_tried[size]:.6g} in microbatches of {size} and {first_tried[other]:.6g} in microbatches of "
        f"{other}: the network must treat examples one by one, and the criterion must average over them or sum, or have "
        "`weight(targets)`, the amount over which it averages (torch.nn.CrossEntropyLoss(weight=...) is known)"
    )


def _compared_sizes(objective: Any) -> list[int]:
    """Return sizes of microbatches whose losses must be equal, large ones first."""
    if not objective.adapts:  # larger ones might not fit
        size = max(objective.microbatch_size, 2)
        return [size, -(-size // 2), -(-size // 3)]
    largest = max(examples_of(*part) or 1 for part in objective.batches)
    smaller = [*(largest // part + 1 for part in (2, 3, 7, 20, 50)), 3, 1]
    return [largest, *(size for size in smaller if size < largest)]


def _losses_by_size(objective: Any, w: Tensor, sizes: list[int]) -> dict[int, float]:
    """Return the loss in microbatches of the first few sizes for which memory suffices."""
    found: dict[int, float] = {}
    with torch.no_grad():
        for size in dict.fromkeys(sizes):
            if len(found) == COMPARED:
                break
            objective.set_microbatch_size(size)
            try:
                found[size] = objective(w).item()
            except RuntimeError as error:
                if not ran_out_of_memory(error):
                    raise
    return found


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
