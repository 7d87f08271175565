"""The data of an objective: one batch of all examples, or several batches."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch.utils.data import DataLoader

from ..common.errors import UnusableData
from .trees import mapped, tensors


class Part(NamedTuple):
    """A batch or a part of one: its inputs and its targets."""

    inputs: Any
    targets: Any


class Batches(list):
    """Batches of data, told apart from inputs that happen to be a list."""


def batches_of(inputs: Any, targets: Any) -> list[Part]:
    """Return inputs and targets as one `Part` for each batch.

    Raises:
        UnusableData: there are no examples.
    """
    if isinstance(inputs, DataLoader):
        inputs = Batches(inputs)
    if isinstance(inputs, Batches):
        if targets is not None:
            raise UnusableData("batches hold their own targets; leave targets out")
        if not inputs:
            raise UnusableData("there is no batch of data")
        for batch in inputs:
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                raise UnusableData(
                    "a batch must be a pair (inputs, targets); inputs may be a tuple or a mapping, and targets None (got a "
                    f"{type(batch).__name__}); a DataLoader's collate_fn can make such pairs"
                )
        found = [Part(*batch) for batch in inputs]
    else:
        found = [Part(inputs, targets)]
    found = [Part(*(mapped(lambda x: x, each) for each in part)) for part in found]
    if any(x.ndim and not len(x) for part in found for x in tensors(part.inputs)):
        raise UnusableData("there are no examples: the inputs are empty")
    return found
