"""Derivatives at a point against dense automatic differentiation and closed forms."""

from __future__ import annotations

import pytest
import torch
from torch.func import grad, hessian

from centralflows.derivatives.evaluator import DerivativeEvaluator
from centralflows.derivatives.point import Point, value_and_gradient
from centralflows.derivatives.svec import svec

# Two float64 evaluations of the same derivative through different graphs differ by rounding only.
CLOSE = {"rtol": 1e-11, "atol": 1e-11}


def directions(p: int, k: int) -> torch.Tensor:
    return torch.randn(p, k, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_loss_and_gradient_agree_with_and_without_graph(tiny):
    w = tiny.initial_weights
    point, (loss, gradient) = Point(tiny, w), value_and_gradient(tiny, w)
    torch.testing.assert_close(point.loss, tiny(w), **CLOSE)
    torch.testing.assert_close(point.gradient, grad(tiny)(w), **CLOSE)
    torch.testing.assert_close((loss, gradient), (point.loss, point.gradient), **CLOSE)


def test_hessian_products_are_those_of_the_dense_hessian(tiny):
    w, v = tiny.initial_weights, directions(tiny.p, 4)
    dense = hessian(tiny)(w) @ v
    point = Point(tiny, w)
    torch.testing.assert_close(point.hessian_product(v), dense, **CLOSE)
    torch.testing.assert_close(torch.stack(point.product_graphs(v)).T.detach(), dense, **CLOSE)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_curvature_gradients_are_gradients_of_the_quadratic_form(tiny, k):
    w, u = tiny.initial_weights, directions(tiny.p, k)
    x = directions(k, k)
    x = x + x.T
    point = Point(tiny, w)
    gradients = point.curvature_gradients(u, point.product_graphs(u))
    expected = grad(lambda w: torch.sum(x * (u.T @ hessian(tiny)(w) @ u)))(w)
    torch.testing.assert_close(gradients @ torch.from_numpy(svec(x.numpy())), expected, **CLOSE)


def test_a_quadratic_has_no_third_derivative():
    matrix = torch.diag(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64))
    w = torch.ones(3, dtype=torch.float64)
    point = Point(lambda w: 0.5 * w @ matrix @ w, w)
    u = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(point.hessian_product(u), matrix, **CLOSE)
    assert point.curvature_gradients(u, point.product_graphs(u)).abs().max() == 0


def test_points_remember_the_last_one_only(tiny):
    points, w = DerivativeEvaluator(tiny), tiny.initial_weights
    first = points.at(w)
    assert points.at(w.clone()) is first
    assert points.at(w + 1) is not first
    assert points.at(w) is not first
