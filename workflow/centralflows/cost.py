"""What a process costs: derivatives counted as they are taken, and host synchronisations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from . import derivatives

READS = {"aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal", "aten::nonzero"}
"""Operations whose result the host waits for."""


class _HostReads(TorchDispatchMode):
    """Counts operations that would stop the queue of an accelerator. Copies to the host look like any other on a CPU."""

    def __init__(self, counts: Counter):
        super().__init__()
        self.counts = counts

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.name().split(".")[0] in READS:
            self.counts["reads"] += 1
        return function(*args, **(kwargs or {}))


@contextmanager
def counted(*, reads: bool = False) -> Iterator[Counter]:
    """Counts of `gradients` (each with its loss), `graphs` (a gradient that can be differentiated further), Hessian-vector
    `products`, those of them with a graph (`product_graphs`), third-order products (`third`), and on request host `reads`.

    Where an objective is a sum over slices, each slice counts.
    """
    counts: Counter = Counter()
    evaluated, pullback = derivatives._evaluated, derivatives.Point._pullback
    begin, hessian, third = (
        derivatives.Point.__init__,
        derivatives.Point.hessian_product,
        derivatives.Point.curvature_gradients,
    )

    def count_gradient(*args: Any) -> Any:
        counts["gradients"] += 1
        return evaluated(*args)

    def count_graph(self: Any, *args: Any) -> None:
        counts["graphs"] += 1
        begin(self, *args)

    def count_product(self: Any, vectors: torch.Tensor) -> Any:
        counts["products"] += vectors.shape[1]
        return hessian(self, vectors)

    def count_third(self: Any, vectors: torch.Tensor, products: Any = None) -> Any:
        counts["third"] += vectors.shape[1] * (vectors.shape[1] + 1) // 2
        return third(self, vectors, products)

    def count_graphs(self: Any, *args: Any, create_graph: bool = False) -> Any:
        counts["product_graphs"] += create_graph
        return pullback(self, *args, create_graph=create_graph)

    point = derivatives.Point
    with (
        patch.object(derivatives, "_evaluated", count_gradient),
        patch.object(point, "__init__", count_graph),
        patch.object(point, "hessian_product", count_product),
        patch.object(point, "curvature_gradients", count_third),
        patch.object(point, "_pullback", count_graphs),
    ):
        if not reads:
            yield counts
        else:
            with _HostReads(counts):
                yield counts
