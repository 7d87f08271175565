"""Counts of the derivatives that are evaluated, and of the times that the host waits for a result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

HOST_READS = {"aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal", "aten::nonzero"}
"""Operations whose result the host waits for."""

_counters: list[Counter] = []


def count(**amounts: int) -> None:
    """Add amounts to every counter that is open."""
    for counter in _counters:
        counter.update(amounts)


@contextmanager
def counted(*, reads: bool = False) -> Iterator[Counter]:
    """Yield a counter of the derivatives that are evaluated within the context.

    It counts `gradients` (each with its loss), `graphs` (gradients that can be differentiated further), Hessian-vector
    `products`, the `product_graphs` among them (products with a graph), and third-order products (`third`). Each microbatch
    counts. A replayed CUDA graph counts like the derivative that it replays.

    Args:
        reads: whether to count host `reads` too: operations that stop the queue of an accelerator. Copies to the host are
            not among them, as on a CPU they look like any other operation.
    """
    counter: Counter = Counter()
    with ExitStack() as stack:
        if reads:
            stack.enter_context(_HostReads(counter))
        _counters.append(counter)
        stack.callback(_counters.remove, counter)
        yield counter


class _HostReads(TorchDispatchMode):
    """Counts the operations of `HOST_READS`."""

    def __init__(self, counter: Counter):
        super().__init__()
        self.counter = counter

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.name().split(".")[0] in HOST_READS:
            self.counter["reads"] += 1
        return function(*args, **(kwargs or {}))
