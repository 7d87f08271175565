r"""Derivatives of the objective at one point, all through one graph.

The gradient graph is built once per point. Hessian-vector products go backward through it, and the gradients of
$u' H(w) v$ go backward once more through those products: k of the second and k(k+1)/2 of the third order for k vectors.
Vectors that go through one graph go one by one, which works for every differentiable layer, or, where the objective says
that it is `batched`, all at once, which is faster for networks of many small operations. (One pass for all pairs of the
third order would drag each through the graphs of all products, and is slower everywhere.)

An objective that is a sum over slices of its examples has `parts`, the functions that add up to it. Its derivatives are
summed over them, and only the graph of one slice is held at a time. Where memory runs out, its slices are halved.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from .counts import count

Function = Callable[[Tensor], Tensor]
T = TypeVar("T")


def value_and_gradient(objective: Function, w: Float[Tensor, " p"]) -> tuple[Float[Tensor, ""], Float[Tensor, " p"]]:
    """L(w) and its gradient, without a graph: all that the discrete optimizer needs."""
    return _fitted(objective, lambda: _summed(objective, w))


def _summed(objective: Function, w: Tensor) -> tuple[Tensor, Tensor]:
    first, *rest = parts_of(objective)
    count(gradients=1 + len(rest))
    loss, gradient = evaluated(first, w)
    for part in rest:
        more_loss, more_gradient = evaluated(part, w)
        loss, gradient = loss + more_loss, gradient + more_gradient
    return loss, gradient


def evaluated(function: Function, w: Tensor) -> tuple[Tensor, Tensor]:
    """The same of one function, at once."""
    w = w.detach().requires_grad_()
    with torch.enable_grad():
        loss = function(w)
        (gradient,) = torch.autograd.grad(loss, w)
    return loss.detach(), gradient


def _fitted(objective: Function, derivative: Callable[[], T]) -> T:
    """What a derivative of an objective returns, its slices halved until it fits into memory."""
    while True:
        try:
            return derivative()
        except RuntimeError as error:
            if not (ran_out_of_memory(error) and hasattr(objective, "halve_microbatches")):
                raise
        # Out here the frames of the attempt are gone, and with them all graphs but those that the caller holds.
        objective.halve_microbatches()


def ran_out_of_memory(error: RuntimeError) -> bool:
    """Whether that is what an error of torch says."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)  # the latter on a CPU


def parts_of(objective: Function) -> tuple[Function, ...]:
    """The functions that add up to an objective: its slices, or itself."""
    return getattr(objective, "parts", (objective,))


class Point:
    r"""An objective (any scalar function of a vector) and its derivatives at one `w`.

    Attributes:
        w: the weights `[p]`.
        loss: $L(w)$, a scalar [loss].
        gradient: $\nabla L(w)$ `[p]`.
    """

    def __init__(self, objective: Function, w: Float[Tensor, " p"], *, batched: bool | None = None):
        self.batched = getattr(objective, "batched", False) if batched is None else batched
        self.w = w.detach().requires_grad_()
        count(graphs=1)
        with torch.enable_grad():
            loss = objective(self.w)
            (self._gradient,) = torch.autograd.grad(loss, self.w, create_graph=True)
        self.loss: Float[Tensor, ""] = loss.detach()
        self.gradient: Float[Tensor, " p"] = self._gradient.detach()

    def hessian_product(self, vectors: Float[Tensor, "p m"]) -> Float[Tensor, "p m"]:
        r"""$H V$, the Hessian times each column."""
        count(products=vectors.shape[1])
        return self._pullbacks(self._gradient, vectors.T).T

    def product_graphs(self, vectors: Float[Tensor, "p k"]) -> tuple[Float[Tensor, " p"], ...]:
        r"""The columns of $H U$, each with the graph that `curvature_gradients` goes back through."""
        return tuple(self._pullback(self._gradient, u, create_graph=True) for u in vectors.T)

    def curvature_gradients(
        self, vectors: Float[Tensor, "p k"], products: tuple[Float[Tensor, " p"], ...] | None = None
    ) -> Float[Tensor, "p q"]:
        r"""$\nabla_w \langle E_a, U' H(w) U \rangle$ with $U$ held fixed, for every coordinate $a$ of `symmetric`.

        Args:
            vectors: $U$, one direction per column.
            products: `product_graphs(vectors)`, where they are there already.

        Returns:
            A matrix `[p, q]`; times `svec(X)` it is $\nabla_w \langle X, U' H(w) U \rangle$ [loss / weight].
        """
        count(third=vectors.shape[1] * (vectors.shape[1] + 1) // 2)
        products = self.product_graphs(vectors) if products is None else products
        rows, others = vectors.T, math.sqrt(2) * vectors.T  # coordinates off the diagonal count twice
        gradients = [
            self._pullbacks(product, torch.cat([others[:j], rows[j : j + 1]])) for j, product in enumerate(products)
        ]
        return torch.cat(gradients).T

    def _pullbacks(self, output: Tensor, cotangents: Float[Tensor, "m p"]) -> Float[Tensor, "m p"]:
        """Vector-Jacobian products, one per row."""
        if self.batched and len(cotangents) > 1 and output.requires_grad:
            return torch.autograd.grad(
                output, self.w, cotangents, retain_graph=True, is_grads_batched=True, materialize_grads=True
            )[0]
        products = [self._pullback(output, v) for v in cotangents]
        return torch.stack(products) if products else torch.empty_like(cotangents)

    def _pullback(self, output: Tensor, cotangent: Tensor, *, create_graph: bool = False) -> Tensor:
        """The vector-Jacobian product; zeros where the output does not depend on w (a linear network)."""
        count(product_graphs=int(create_graph))
        if not output.requires_grad:
            return torch.zeros_like(self.w)
        (result,) = torch.autograd.grad(
            output, self.w, cotangent, retain_graph=True, create_graph=create_graph, materialize_grads=True
        )
        return result


class MicrobatchedPoint(Point):
    """The same of a sum of functions: each derivative is summed over them, one graph at a time.

    No graph outlives a call, so every call evaluates the functions anew.
    """

    def __init__(self, objective: Function, w: Float[Tensor, " p"]):
        self.w = w.detach()
        self.batched = getattr(objective, "batched", False)
        self.loss, self.gradient = value_and_gradient(objective, self.w)
        self._parts = parts_of(objective)  # after the gradient, for which they may have been halved

    def hessian_product(self, vectors):
        return self._sum(lambda point: point.hessian_product(vectors))

    def product_graphs(self, vectors):
        """The columns of $H U$, without graphs: `curvature_gradients` makes them anew, slice by slice."""
        return tuple(self.hessian_product(vectors).T)

    def curvature_gradients(self, vectors, products=None):
        return self._sum(lambda point: point.curvature_gradients(vectors))

    def _sum(self, derivative: Callable[[Point], Tensor]) -> Tensor:
        first, *rest = self._parts
        total = derivative(Point(first, self.w, batched=self.batched))
        for part in rest:
            total = total + derivative(Point(part, self.w, batched=self.batched))
        return total
