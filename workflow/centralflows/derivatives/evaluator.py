"""The evaluator of one objective's derivatives, in microbatches that fit into memory or by CUDA graphs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..common.errors import UserError
from ..problems.memory import ran_out_of_memory
from .cuda_graphs import CudaGraphPoint, CudaGraphs
from .point import Function, MicrobatchedPoint, Point, parts_of, value_and_gradient

T = TypeVar("T")


class DerivativeEvaluator:
    """A factory of `Point`s of one objective; it caches the last, which solver and integrator often both need.

    On a GPU, the derivatives of an objective with one microbatch are captured as CUDA graphs and replayed. If the
    capture fails because the host has to wait for a result, the evaluator warns and continues without CUDA graphs. If
    memory runs out, it first drops the CUDA graphs and then halves the microbatches.
    """

    def __init__(self, objective: Function):
        self.objective = objective
        self._adapts = hasattr(objective, "halve_microbatches")
        self._capturable, self._graphs = self._adapts, None
        self._last: Point | None = None

    def at(self, w: Float[Tensor, " p"]) -> Point:
        """Return the point at weights `w`."""
        if self._last is None or not torch.equal(self._last.w, w):
            self._last = AdaptivePoint(self, w.clone()) if self._adapts else self.made(w.clone())
        return self._last

    def gradient(self, w: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
        """Return the gradient alone, without an autograd graph unless one exists at `w` already."""
        return self.value_and_gradient(w)[1]

    def value_and_gradient(self, w: Float[Tensor, " p"]) -> tuple[Float[Tensor, ""], Float[Tensor, " p"]]:
        """Return L(w) and its gradient, without an autograd graph unless one exists at `w` already."""
        if self._last is not None and torch.equal(self._last.w, w):
            return self._last.loss, self._last.gradient
        return self.fitted(lambda: self._evaluated(w))

    def _evaluated(self, w: Tensor) -> tuple[Tensor, Tensor]:
        graphs = self._captured(w)
        return graphs.value_and_gradient(w) if graphs else value_and_gradient(self.objective, w)

    @property
    def layout(self) -> tuple[int, bool]:
        """The layout that a point is made for: the microbatch size, and whether it uses CUDA graphs."""
        return self.objective.microbatch_size, self._graphs is not None

    def made(self, w: Float[Tensor, " p"]) -> Point:
        """Return a new point for the present layout."""
        graphs = self._captured(w)
        if graphs:
            return CudaGraphPoint(graphs, w)
        return MicrobatchedPoint(self.objective, w) if len(parts_of(self.objective)) > 1 else Point(self.objective, w)

    def fitted(self, derivative: Callable[[], T]) -> T:
        """Return the result of a derivative, after changes of the layout if it fails without them."""
        while True:
            try:
                return derivative()
            except RuntimeError as error:
                full = ran_out_of_memory(error)
                if isinstance(error, UserError) or not (self._graphs or (full and self._adapts)):
                    raise
                reason = "out of memory" if full else str(error).splitlines()[0]
            # Outside the `except` block the frames of the attempt are gone, and with them all autograd graphs except
            # the caller's.
            if not self._graphs:
                self.objective.halve_microbatches()
                continue
            self._capturable, self._graphs = False, None
            warnings.warn(f"derivatives are evaluated without CUDA graphs: {reason}", stacklevel=2)

    def _captured(self, w: Tensor) -> CudaGraphs | None:
        if not self._capturable or not w.is_cuda or len(parts_of(self.objective)) > 1:
            self._graphs = None
        elif self._graphs is None:
            self._graphs = CudaGraphs(self.objective)
        return self._graphs


class AdaptivePoint(Point):
    """A point that is made anew when the layout changes; its derivatives are then those of the new point."""

    def __init__(self, evaluator: DerivativeEvaluator, w: Float[Tensor, " p"]):
        self.w, self._evaluator, self._point, self._layout = w.detach(), evaluator, None, None
        self.loss, self.gradient = self._of(lambda point: (point.loss, point.gradient))

    def hessian_product(self, vectors):
        return self._of(lambda point: point.hessian_product(vectors))

    def product_graphs(self, vectors):
        return self._of(lambda point: point.product_graphs(vectors))

    def curvature_gradients(self, vectors, products=None):
        return self._of(lambda point: point.curvature_gradients(vectors, products))

    def _of(self, derivative: Callable[[Point], T]) -> T:
        def attempt() -> T:
            if self._layout != self._evaluator.layout:
                self._point = None  # its autograd graph must be freed before another is made
                self._point, self._layout = self._evaluator.made(self.w), self._evaluator.layout
            return derivative(self._point)

        return self._evaluator.fitted(attempt)
