"""Derivatives on a GPU, captured as CUDA graphs.

A network of many small operations keeps a GPU waiting, because the host takes longer to launch a kernel than the kernel
runs. Each derivative is therefore launched once, during its capture, and only replayed from then on, in the same
memory. The captured calls are those of an ordinary `Point`, so a replay runs the same kernels and returns the same
bytes.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .counts import count
from .point import Function, Point, evaluated


class NotCapturable(RuntimeError):
    """A replay does not return the captured result, so the function does not depend on the weights alone."""


class Replay(NamedTuple):
    """A captured call.

    Attributes:
        graph: the CUDA graph with its kernels.
        given: memory from which it reads its argument.
        found: memory in which it leaves its results.
    """

    graph: torch.cuda.CUDAGraph
    given: Tensor
    found: tuple[Tensor, ...]

    def __call__(self, argument: Tensor) -> tuple[Tensor, ...]:
        # Not `given.copy_`: autograd graphs saved for a later backward pass would then count its contents as changed.
        self.given.data.copy_(argument)
        self.graph.replay()
        return self.found


class CudaGraphs:
    """All derivatives of a function on a GPU, each captured when it is first needed.

    Its memory holds one point, that of the weights loaded last.

    Raises:
        NotCapturable: a replay does not return the captured result. Other errors of torch: the host waits for a result
            within a derivative.
    """

    def __init__(self, function: Function):
        self._function = function
        self._stream, self._pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()
        self._replays: dict[tuple[str, int], Replay] = {}
        self._point: Point | None = None  # the point in its memory
        self._loaded: Tensor | None = None  # the weights of that point

    def value_and_gradient(self, w: Float[Tensor, " p"]) -> tuple[Float[Tensor, ""], Float[Tensor, " p"]]:
        count(gradients=1)
        replay = self._replay("value", w, lambda given: evaluated(self._function, given))
        loss, gradient = replay(w)
        return loss.clone(), gradient.clone()

    def load(self, w: Float[Tensor, " p"]) -> tuple[Float[Tensor, ""], Float[Tensor, " p"]]:
        """Load the point of these weights into its memory, and return loss and gradient."""
        replay = self._replay("point", w, self._began)
        loss, gradient = replay(w) if self._loaded is not w else replay.found
        self._loaded = w
        return loss, gradient

    def _began(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss and gradient of a new point, which becomes the one in memory."""
        self._point = Point(self._function, given)
        return self._point.loss, self._point.gradient

    def derivative(self, name: str, w: Float[Tensor, " p"], vectors: Float[Tensor, "p m"]) -> Float[Tensor, "p c"]:
        """Return a derivative at weights, by the name of the method of `Point` that returns it."""
        self.load(w)
        replay = self._replay(name, vectors.T, lambda given: (getattr(self._point, name)(given.T),))
        return replay(vectors.T)[0].clone()

    @property
    def batched(self) -> bool:
        return self._point.batched

    def _replay(self, name: str, argument: Tensor, work: Callable[[Tensor], tuple[Tensor, ...]]) -> Replay:
        key = name, argument.shape[0] if argument.ndim > 1 else 1
        if key not in self._replays:
            self._replays[key] = self._captured(argument, work)
        return self._replays[key]

    def _captured(self, argument: Tensor, work: Callable[[Tensor], tuple[Tensor, ...]]) -> Replay:
        given = argument.detach().clone(memory_format=torch.contiguous_format)
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        # Two runs come before the capture, on its stream, where backward passes run as well. The first lets libraries
        # and modules initialise their state. The second checks that the host does not wait, which would break off the
        # capture.
        with torch.cuda.stream(self._stream):
            expected = [result.clone() for result in work(given)]
            with _no_waiting():
                work(given)
        current.wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        try:
            with _no_collection(), torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                found = work(given)
        finally:
            torch.cuda.set_stream(current)  # torch does not restore it after an error
        replay = Replay(graph, given, found)
        for result, before in zip(replay(argument), expected, strict=True):
            if not (result - before).norm() <= 1e-3 * before.norm():
                raise NotCapturable("a replay does not return what was captured")
        return replay


@contextmanager
def _no_waiting() -> Iterator[None]:
    """Raise an error if the host would wait for a result within this block."""
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the warning that the mode may miss some cases
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(mode)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Hold a context without garbage collection.

    Freeing a CUDA graph during the capture of another one would break that capture.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class CudaGraphPoint(Point):
    """A point whose derivatives are replayed from CUDA graphs."""

    def __init__(self, graphs: CudaGraphs, w: Float[Tensor, " p"]):
        count(graphs=1)
        self.w, self._graphs = w.detach(), graphs
        loss, gradient = graphs.load(self.w)
        self.loss, self.gradient, self.batched = loss.clone(), gradient.clone(), graphs.batched

    def hessian_product(self, vectors):
        count(products=vectors.shape[1])
        # A CUDA graph for each number of vectors pays off only if the vectors take one pass.
        parts = [vectors] if self.batched else vectors.split(1, dim=1)
        found = [self._graphs.derivative("hessian_product", self.w, part) for part in parts]
        return torch.cat([part.T for part in found]).T

    def product_graphs(self, vectors):
        """Return the columns of $H U$ without graphs; `curvature_gradients` has them in its CUDA graph."""
        return tuple(self.hessian_product(vectors).T)

    def curvature_gradients(self, vectors, products=None):
        k = vectors.shape[1]
        count(third=k * (k + 1) // 2, product_graphs=k)
        return self._graphs.derivative("curvature_gradients", self.w, vectors)
