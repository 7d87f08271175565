"""What a run is, in words, from the attributes and sizes of its stores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .run_view import Run, learning_rate, network, optimizer, setting

EXAMPLES = {
    "cifar10": "images",
    "digits": "images",
    "moons": "points",
    "circles": "points",
    "classification": "points",
    "sorting": "sequences",
    "copying": "sequences",
    "sst2": "sentences",
}
"""What the examples of a dataset are; those of a user's own are called examples."""


def described(run: Run) -> dict[str, str]:
    """Return the optimizer of a run, what it trains ("MLP, 99,524 weights, 200 images"), and its settings.

    Args:
        run: its stores by process, with a discrete run.
    """
    name = optimizer(run)
    return {
        "optimizer": name[0].upper() + name[1:],
        "problem": ", ".join(_problem(run)),
        "settings": ", ".join(_settings(run)),
    }


def _problem(run: Run) -> Iterator[str]:
    yield network(run)
    if (weights := run["discrete"].sizes.get("parameter")) is not None:
        yield f"{weights:,} weights"
    count = setting(run, "dataset", "examples")
    if count is not None:
        yield f"{count:,} {EXAMPLES.get(setting(run, 'dataset', 'name'), 'examples')}"


def _settings(run: Run) -> Iterator[str]:
    criterion: Any = setting(run, "criterion")
    if isinstance(criterion, str) and criterion != "mse":
        yield criterion
    yield learning_rate(run)
    if (memory := setting(run, "optimizer", "beta2")) is not None:
        yield f"beta2 {memory:g}"
    if setting(run, "optimizer", "bias_correction"):
        yield "bias correction"
    if seed := setting(run, "seed"):
        yield f"seed {seed}"
    yield f"{run['discrete'].sizes['step']:,} steps"
    if (source := setting(run, "start", "run")) is not None:
        yield f"from a state of {source}"
