"""Derivatives of the objective at one point, all from one autograd graph.

The gradient graph is built once per point. Hessian-vector products go backward through it, and the gradients of
$u' H(w) v$ go backward once more through those products: for k vectors there are k products of the second order and
k(k+1)/2 of the third. Vectors go through a graph one by one, which works for every differentiable layer. If the
objective is `batched`, they go through it in one pass, which is faster for networks of many small operations. (A single
pass for all pairs of the third order would take each pair through the graphs of all products, and is slower
everywhere.)

An objective that is a sum over microbatches has `parts`, the functions that add up to it. Its derivatives are summed
over them, and only the graph of one microbatch is held at a time. If memory runs out, the microbatches are halved.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..problems.memory import ran_out_of_memory
from .counts import count

Function = Callable[[Tensor], Tensor]
T = TypeVar("T")


def value_and_gradient(objective: Function, w: Float[Tensor, " p"]) -> tuple[Float[Tensor, ""], Float[Tensor, " p"]]:
    """Return L(w) and its gradient, without an autograd graph: all that the discrete optimizer needs."""
    return _fitted(objective, lambda: _summed(objective, w))


def _summed(objective: Function, w: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss and the gradient of an objective, summed over its parts."""
    first, *rest = parts_of(objective)
    count(gradients=1 + len(rest))
    loss, gradient = evaluated(first, w)
    for part in rest:
        more_loss, more_gradient = evaluated(part, w)
        loss, gradient = loss + more_loss, gradient + more_gradient
    return loss, gradient


def evaluated(function: Function, w: Tensor) -> tuple[Tensor, Tensor]:
    """Return the value and the gradient of one function, in a single pass and without an autograd graph."""
    w = w.detach().requires_grad_()
    with torch.enable_grad():
        loss = function(w)
        (gradient,) = torch.autograd.grad(loss, w)
    return loss.detach(), gradient


def _fitted(objective: Function, derivative: Callable[[], T]) -> T:
    """Return the result of a derivative, after halving the objective's microbatches until it fits into memory."""
    while True:
        try:
            return derivative()
        except RuntimeError as error:
            if not (ran_out_of_memory(error) and hasattr(objective, "halve_microbatches")):
                raise
        # Outside the `except` block the frames of the attempt are gone, and with them all autograd graphs except the
        # caller's.
        objective.halve_microbatches()


def parts_of(objective: Function) -> tuple[Function, ...]:
    """Return the functions that add up to an objective: its microbatches, or the objective itself."""
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
        """Return $H V$, the Hessian times each column."""
        count(products=vectors.shape[1])
        return self._pullbacks(self._gradient, vectors.T).T

    def product_graphs(self, vectors: Float[Tensor, "p k"]) -> tuple[Float[Tensor, " p"], ...]:
        """Return the columns of $H U$, each with the autograd graph that `curvature_gradients` differentiates."""
        return tuple(self._pullback(self._gradient, u, create_graph=True) for u in vectors.T)

    def curvature_gradients(
        self, vectors: Float[Tensor, "p k"], products: tuple[Float[Tensor, " p"], ...] | None = None
    ) -> Float[Tensor, "p q"]:
        r"""Return $\nabla_w \langle E_a, U' H(w) U \rangle$ with $U$ held, for every coordinate $a$ of `svec`.

        Args:
            vectors: $U$, one direction per column.
            products: `product_graphs(vectors)`, if they are already known.

        Returns:
            A matrix `[p, q]`; times `svec(X)` it is $\nabla_w \langle X, U' H(w) U \rangle$ [loss / weight].
        """
        count(third=vectors.shape[1] * (vectors.shape[1] + 1) // 2)
        products = self.product_graphs(vectors) if products is None else products
        rows, others = vectors.T, math.sqrt(2) * vectors.T  # off-diagonal coordinates have a factor of sqrt 2
        gradients = [
            self._pullbacks(product, torch.cat([others[:j], rows[j : j + 1]])) for j, product in enumerate(products)
        ]
        return torch.cat(gradients).T

    def _pullbacks(self, output: Tensor, cotangents: Float[Tensor, "m p"]) -> Float[Tensor, "m p"]:
        """Return the vector-Jacobian products, one per row."""
        if self.batched and len(cotangents) > 1 and output.requires_grad:
            return torch.autograd.grad(
                output, self.w, cotangents, retain_graph=True, is_grads_batched=True, materialize_grads=True
            )[0]
        products = [self._pullback(output, v) for v in cotangents]
        return torch.stack(products) if products else torch.empty_like(cotangents)

    def _pullback(self, output: Tensor, cotangent: Tensor, *, create_graph: bool = False) -> Tensor:
        """Return the vector-Jacobian product, or zeros if the output does not depend on w (a linear network)."""
        count(product_graphs=int(create_graph))
        if not output.requires_grad:
            return torch.zeros_like(self.w)
        (result,) = torch.autograd.grad(
            output, self.w, cotangent, retain_graph=True, create_graph=create_graph, materialize_grads=True
        )
        return result


class MicrobatchedPoint(Point):
    """A point of an objective with several microbatches; each derivative is summed over them, one graph at a time.

    No graph outlives a call, so every call evaluates the functions anew.
    """

    def __init__(self, objective: Function, w: Float[Tensor, " p"]):
        self.w = w.detach()
        self.batched = getattr(objective, "batched", False)
        self.loss, self.gradient = value_and_gradient(objective, self.w)
        self._parts = parts_of(objective)  # after the gradient, which may have halved the microbatches

    def hessian_product(self, vectors):
        return self._sum(lambda point: point.hessian_product(vectors))

    def product_graphs(self, vectors):
        """Return the columns of $H U$ without graphs; `curvature_gradients` rebuilds them for each microbatch."""
        return tuple(self.hessian_product(vectors).T)

    def curvature_gradients(self, vectors, products=None):
        return self._sum(lambda point: point.curvature_gradients(vectors))

    def _sum(self, derivative: Callable[[Point], Tensor]) -> Tensor:
        first, *rest = self._parts
        total = derivative(Point(first, self.w, batched=self.batched))
        for part in rest:
            total = total + derivative(Point(part, self.w, batched=self.batched))
        return total
