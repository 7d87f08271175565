"""Checks of a user's dataset, made before anything is computed from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy import ndarray

from .dataset import MASKED, Dataset

INPUTS, LABELS = ("inputs", "test_inputs"), ("labels", "test_labels")
TEXTS = ("description", "source", "licence")


def faults(made: Any) -> list[str]:
    """Return the faults of a dataset as `field: fault` lines; empty if there are none."""
    if not isinstance(made, Dataset):
        return [f"must return a centralflows.Dataset (got {type(made).__name__})"]
    found = [*_numbers(made), *_texts(made), *_types(made)]
    # The later checks rely on arrays and on valid numbers, so faults of those come first.
    found = found or list(_shapes(made))
    return found or [*_inputs(made), *_labels(made)]


def _numbers(made: Dataset) -> Iterator[str]:
    for name, least in (("classes", 1), ("symbols", 0)):
        value = getattr(made, name)
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            yield f"{name}: must be a whole number, at least {least} (got {value!r})"


def _texts(made: Dataset) -> Iterator[str]:
    for name in TEXTS:
        text = getattr(made, name)
        if not isinstance(text, str) or not text.strip() or len(text.splitlines()) > 1:
            yield f"{name}: must be one line of text (got {str(text)[:40]!r})"


def _types(made: Dataset) -> Iterator[str]:
    for names in (INPUTS, LABELS):
        arrays = [getattr(made, name) for name in names]
        right = True
        for name, array in zip(names, arrays, strict=True):
            if not isinstance(array, ndarray):
                yield f"{name}: must be a numpy array (got {type(array).__name__})"
                right = False
            elif array.dtype not in (np.float32, np.int64):
                yield f"{name}: must be float32 or int64 (got {array.dtype}); use .astype('float32') or .astype('int64')"
                right = False
        if right and arrays[0].dtype != arrays[1].dtype:
            yield f"{names[1]}: must be {arrays[0].dtype} like {names[0]} (got {arrays[1].dtype})"


def _shapes(made: Dataset) -> Iterator[str]:
    axes = 2 if made.kind == "tokens" else None
    for inputs, labels in zip(INPUTS, LABELS, strict=True):
        x, y = getattr(made, inputs), getattr(made, labels)
        if x.ndim < 2 or (axes and x.ndim != axes):
            yield f"{inputs}: must be [examples, {'length' if axes else '...'}] (got shape {list(x.shape)})"
        if x.shape[:1] != y.shape[:1]:
            yield f"{labels}: must be as many as {inputs} (got shapes {list(y.shape)} and {list(x.shape)})"
        for name, array in ((inputs, x), (labels, y)):
            if not array.size:
                yield f"{name}: there are none (shape {list(array.shape)})"
    for first, second in (INPUTS, LABELS):
        a, b = getattr(made, first), getattr(made, second)
        if a.shape[1:] != b.shape[1:]:
            yield f"{second}: each must have the shape of {first}, {list(a.shape[1:])} (got {list(b.shape[1:])})"


def _inputs(made: Dataset) -> Iterator[str]:
    tokens = made.kind == "tokens"
    if tokens and not made.symbols:
        yield "symbols: whole-number inputs are symbols of an alphabet; say how many there are"
        return
    for name in INPUTS:
        values = getattr(made, name)
        if not tokens and not np.isfinite(values).all():
            yield f"{name}: must be finite"
        if tokens and (values.min() < 0 or values.max() >= made.symbols):
            yield f"{name}: must lie in 0..{made.symbols - 1} (got {values.min()} to {values.max()})"


def _labels(made: Dataset) -> Iterator[str]:
    last = max(made.classes, 2) - 1
    for name in LABELS:
        labels = getattr(made, name)
        if labels.dtype == np.float32:
            if not np.isfinite(labels).all():
                yield f"{name}: must be finite"
        elif labels.min() < MASKED or labels.max() > last:
            yield f"{name}: must lie in 0..{last}, or be {MASKED} (masked) (got {labels.min()} to {labels.max()})"
        elif (labels == MASKED).all():
            yield f"{name}: all are masked"
