"""The expansion of the critical block against derivatives evaluated afresh."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from centralflows.derivatives.eigen_tracker import EigenTracker
from centralflows.derivatives.point import Point
from centralflows.derivatives.svec import svec
from centralflows.flows.critical_block import (
    LONGEST,
    CriticalBlock,
    FollowedThirdDerivatives,
    _rotation,
    _turned,
    expand,
    pairs,
)
from centralflows.flows.gram import gram

ONE = torch.ones(1, dtype=torch.float64)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(k: int) -> np.ndarray:
    return torch.linalg.qr(normal(k, k, seed=5))[0].numpy()


def test_third_derivatives_turn_with_the_basis(tiny):
    k, point = 3, Point(tiny, tiny.initial_weights)
    basis, turn = torch.linalg.qr(normal(tiny.p, k))[0], rotation(3)
    turned = basis @ torch.from_numpy(turn)
    np.testing.assert_allclose(_rotation(basis, turned), turn, atol=1e-12)
    gradients = point.curvature_gradients(basis)
    third = _turned(FollowedThirdDerivatives(gradients, 2 * gradients, 0.0), turn)
    expected = point.curvature_gradients(turned)
    torch.testing.assert_close(third.gradients, expected, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(third.rates, 2 * expected, rtol=1e-11, atol=1e-11)


def test_a_basis_that_spans_something_else_is_not_matched():
    basis = torch.linalg.qr(normal(20, 4))[0]
    assert _rotation(basis[:, :2], basis[:, 2:]) is None
    assert _rotation(basis[:, :2], basis[:, :3]) is None


def test_the_expansion_is_exact_where_it_starts_and_second_order_around(tiny):
    w, tracker = tiny.initial_weights, EigenTracker(threshold=1e9, minimum=2, tolerance=1e-12)
    point = Point(tiny, w)
    found = expand(0.0, point, ONE, tracker.update(point, ONE), [0, 1], None, tolerance=0.1)
    torch.testing.assert_close(found.products, point.hessian_product(found.basis), rtol=0, atol=1e-10)
    direction, errors = normal(tiny.p, seed=1) / tiny.p**0.5, []
    for size in (2e-3, 1e-3):
        there = Point(tiny, w + size * direction)
        exact = gram(found.basis, there.hessian_product(found.basis))
        errors.append(np.abs(found.curvatures_at(1.0, w + size * direction) - exact).max())
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)  # the next order changes it by some 1e-3 relative


def test_extrapolation_is_exact_for_linear_change_and_lengthens_the_interval():
    start, rate, root = normal(6, 3), normal(6, 3, seed=1), torch.ones(1, 1, dtype=torch.float64)
    third = FollowedThirdDerivatives(start, torch.zeros_like(start), 0.0)
    third = third.corrected(1.0, start + rate, root, 1e-3)
    assert third.interval == 1 and not third.steady  # nothing was known of the rate
    time = 1.0
    while third.interval < LONGEST:
        time += third.interval
        torch.testing.assert_close(third._replace(extrapolated=True).at(time), start + time * rate)
        third = third.corrected(time, start + time * rate, root, 1e-3)
        assert third.steady and third.extrapolated
    assert time == 1 + 1 + 2 + 4


def test_third_derivatives_of_a_quadratic_are_zero_and_steady():
    zero, root = torch.zeros(4, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    third = FollowedThirdDerivatives(zero, zero, 0.0).corrected(1.0, zero, root, 1e-3)
    assert third.steady and third.interval == 2


def test_extrapolation_that_did_not_help_is_not_used():
    root, ones = torch.ones(1, 1, dtype=torch.float64), torch.ones(4, 1, dtype=torch.float64)
    third = FollowedThirdDerivatives(ones, 0 * ones, 0.0).corrected(1.0, 1.05 * ones, root, 1e-3)
    third = third.corrected(2.0, ones, root, 1e-3)  # back and forth: the rate foretold 1.10
    assert not third.extrapolated and third.interval == 1 and third.steady
    assert torch.equal(third.at(3.0), ones)
    assert not third.corrected(3.0, 2 * ones, root, 1e-3).steady


@pytest.mark.parametrize("size", [1, 31])
def test_pairs_make_the_quadratic_forms(size):
    basis, diagonal = normal(31, 3), normal(size, 2, seed=1)
    made = CriticalBlock(basis, basis, np.eye(3), np.eye(3), basis, pairs(basis, torch.ones(size))).growth(diagonal)
    for column in range(2):
        expected = 2 * svec((basis.T @ (diagonal[:, column, None] * basis)).numpy())
        np.testing.assert_allclose(made[:, column], expected, rtol=1e-12)


def test_gram_of_float32_is_summed_nearly_as_exactly_as_in_float64():
    a, b = normal(50_000, 3).float(), normal(50_000, 2, seed=1).float()
    exact = (a.double().T @ b.double()).numpy()
    # 49 blocks of 1024 random terms, each rounded like a random walk: well below eps * sqrt(1024) * sqrt(50,000).
    np.testing.assert_allclose(gram(a, b), exact, atol=6e-8 * 32 * 224)
    assert gram(a, b).dtype == np.float64
