"""What a process costs: derivatives counted as they are taken, and host synchronisations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ...derivatives import point
from ...derivatives.cuda_graphs import CudaGraphPoint, CudaGraphs
from ...derivatives.point import Point

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

    Where an objective is a sum over slices, each slice counts; where derivatives are recorded, the recording does.
    """
    counts: Counter = Counter()

    def counting(owner: Any, name: str, **amounts: Callable[..., int]) -> Any:
        real = getattr(owner, name)

        def count(*args: Any, **kwargs: Any) -> Any:
            counts.update({key: amount(*args, **kwargs) for key, amount in amounts.items()})
            return real(*args, **kwargs)

        return patch.object(owner, name, count)

    def one(*args: Any) -> int:
        return 1

    def columns(point: Point, vectors: torch.Tensor, products: Any = None) -> int:
        return vectors.shape[1]

    def entries(point: Point, vectors: torch.Tensor, products: Any = None) -> int:
        return vectors.shape[1] * (vectors.shape[1] + 1) // 2

    def with_graph(*args: Any, create_graph: bool = False) -> int:
        return int(create_graph)

    with (
        counting(point, "evaluated", gradients=one),
        counting(Point, "__init__", graphs=one),
        counting(Point, "hessian_product", products=columns),
        counting(Point, "curvature_gradients", third=entries),
        counting(Point, "_pullback", product_graphs=with_graph),
        counting(CudaGraphs, "value_and_gradient", gradients=one),
        counting(CudaGraphPoint, "__init__", graphs=one),
        counting(CudaGraphPoint, "hessian_product", products=columns),
        counting(CudaGraphPoint, "curvature_gradients", third=entries, product_graphs=columns),
    ):
        if not reads:
            yield counts
        else:
            with _HostReads(counts):
                yield counts
