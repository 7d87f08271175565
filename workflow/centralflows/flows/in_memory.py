"""Trajectories in memory: the records of a process, kept until it ends, and which of their weights are kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..common.errors import Diverged, Stopped, UserError
from ..store.trajectory import Record, Shape, to_dataset, tracked_only

IN_MEMORY = 2**31
"""Bytes of weights of one trajectory that are kept in memory by default."""


class Collected(NamedTuple):
    """The records of a process, or tuples of those of several at the same steps.

    Attributes:
        records: one for each step that was reached.
        attrs: why it ended early (`stopped`, `diverged`), if it did.
        interrupted: whether Ctrl-C ended it.
    """

    records: list
    attrs: dict[str, Any]
    interrupted: bool

    def dataset(self, shape: Shape, attrs: dict[str, Any]) -> xr.Dataset:
        """Return the records as a Dataset."""
        dataset = tracked_only(to_dataset(self.records, shape))
        return dataset.assign_attrs(process=shape.process, **attrs, **self.attrs)

    def only(self, index: int) -> Collected:
        """Return the records of one process of several."""
        return self._replace(records=[record[index] for record in self.records])


def collected(records: Iterable, stride: int) -> Collected:
    """Return all records of a process, and warn if it failed.

    Args:
        stride: weights are kept at every step that is a multiple of it; 0 keeps those of step 0 only.
    """
    kept: list = []
    attrs: dict[str, Any] = {}
    failed = interrupted = False
    try:
        for record in records:
            kept.append(
                tuple(_bare(part, stride) for part in record) if type(record) is tuple else _bare(record, stride)
            )
    except Stopped as stopped:
        attrs["stopped"] = str(stopped)
    except KeyboardInterrupt:
        attrs["stopped"] = f"interrupted at step {len(kept)}"
        failed = interrupted = True
    except UserError as error:
        if not isinstance(error, ArithmeticError | MemoryError):
            raise
        attrs["stopped"], failed = f"{type(error).__name__}: {error}", True
        if isinstance(error, Diverged):
            attrs["diverged"] = len(kept)
    if failed:
        warnings.warn(f"ended early: {attrs['stopped']}", stacklevel=4)
    return Collected(kept, attrs, interrupted)


def _bare(record: Record | None, stride: int) -> Record | None:
    """Return a record without what is not kept. Resume states hold eigenvectors and more; nothing resumes from them."""
    if record is None:
        return None
    keeps = record.step % stride == 0 if stride else record.step == 0
    held = record if keeps else record._replace(weights=np.empty(0), state=())
    return held._replace(resume_state=None)


def weights_of(records: list[Record]) -> Callable[[int], Tensor | None]:
    """Return the weights of records by step."""
    return lambda step: torch.from_numpy(records[step].weights) if step < len(records) else None


def stride_in_memory(weights_every: int | None, bytes_in_all: int) -> int:
    """Return the steps between weights that are kept, from what the user asks for and what all of them would take.

    Raises:
        ValueError: this is no number of steps.
    """
    if weights_every is not None:
        if not isinstance(weights_every, Integral) or weights_every < 0:
            raise ValueError(f"weights_every must be a whole number, at least 0 (got {weights_every!r})")
        return int(weights_every)
    if bytes_in_all <= IN_MEMORY:
        return 1
    warnings.warn(
        f"the weights of one trajectory would take {bytes_in_all / 2**30:.1f} GiB of memory; only those of the first step "
        "are kept (weights_every= keeps more, save_to= writes them to disk)",
        stacklevel=4,
    )
    return 0
