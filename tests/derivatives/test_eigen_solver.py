"""The eigen-solver on operators whose spectrum is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from centralflows.derivatives.eigen_solver import Spectrum, leading_eigenpairs
from centralflows.derivatives.eigen_tracker import EigenTracker, _one_step_ahead
from centralflows.derivatives.point import Point


def symmetric(values: torch.Tensor, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A dense symmetric matrix with the given spectrum, and its eigenvectors."""
    p = len(values)
    vectors = torch.linalg.qr(torch.randn(p, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))[0]
    return vectors @ torch.diag(values) @ vectors.T, vectors


def guess(p: int, b: int) -> torch.Tensor:
    return torch.randn(p, b, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def point_with_hessian(matrix: torch.Tensor) -> Point:
    return Point(lambda w: 0.5 * w @ matrix @ w, torch.ones(len(matrix), dtype=matrix.dtype))


ONE = torch.ones(1, dtype=torch.float64)


@pytest.mark.parametrize("spectrum", ["spread", "negative bulk", "degenerate"])
def test_leading_eigenpairs_are_found(spectrum):
    values = {
        "spread": torch.linspace(5, 0.01, 200, dtype=torch.float64),
        "negative bulk": torch.cat([torch.tensor([3.0, 2.0, 1.5]), torch.linspace(0.5, -9, 197)]).double(),
        "degenerate": torch.cat([torch.tensor([2.0, 2.0, 2.0]), torch.linspace(1, 0, 197)]).double(),
    }[spectrum]
    matrix, _ = symmetric(values)
    found = leading_eigenpairs(lambda v: matrix @ v, guess(200, 4), wanted=3, tolerance=1e-7)
    scale = values[0].item()
    # |value - eigenvalue| <= residual for symmetric operators.
    np.testing.assert_allclose(found.values[:3], values[:3], atol=1e-7 * scale)
    residual = matrix @ found.vectors - found.vectors * found.values
    assert residual.norm(dim=0)[:3].max() <= 1.01e-7 * scale
    identity = torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(found.vectors.T @ found.vectors, identity, rtol=0, atol=1e-12)


def test_an_exact_guess_costs_one_product_per_vector():
    matrix, vectors = symmetric(torch.linspace(5, 0.01, 100, dtype=torch.float64))
    found = leading_eigenpairs(lambda v: matrix @ v, vectors[:, :3], wanted=3, tolerance=1e-8)
    assert found.products == 3


def test_float32_reaches_a_residual_near_its_rounding():
    values = torch.linspace(2, 0, 500, dtype=torch.float64) ** 3
    matrix = symmetric(values)[0].float()
    found = leading_eigenpairs(lambda v: matrix @ v, guess(500, 4).float(), wanted=3, tolerance=0.0)
    # A product of size 500 in float32 carries a relative error of about sqrt(500) * 6e-8 = 1e-6.
    assert found.residuals[:3].max() < 1e-5


def test_all_modes_above_the_threshold_are_tracked_and_one_below():
    values = torch.cat([torch.tensor([3.0, 2.5, 2.1, 1.9, 1.2]), torch.linspace(0.8, 0, 95)]).double()
    tracker = EigenTracker(threshold=1.5, tolerance=1e-8)
    found = tracker.update(point_with_hessian(symmetric(values)[0]), ONE)
    np.testing.assert_allclose(found.values, values[:5], atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_copies_of_a_multiple_eigenvalue_are_tracked(dtype):
    """That of a linear model with many outputs, X'X for each of them."""
    values = torch.cat([torch.full((6,), 2.0), torch.full((6,), 1.7), torch.linspace(1.2, -0.3, 60)]).to(dtype)
    found = EigenTracker(threshold=1.5).update(point_with_hessian(torch.diag(values)), torch.ones(1, dtype=dtype))
    np.testing.assert_allclose(found.values, [2.0] * 6 + [1.7] * 6 + [1.2], atol=1e-4)  # 8e-4 of a value below, squared


@pytest.mark.parametrize("seed", range(4))
def test_a_dense_cluster_is_resolved(seed):
    """Values around the threshold that lie closer than what an iteration gains: it must go on nevertheless."""
    generator = torch.Generator().manual_seed(seed)
    values = 1.5 + 0.2 * torch.randn(40, generator=generator, dtype=torch.float64)
    values = torch.cat([values, torch.linspace(1.2, -0.5, 260, dtype=torch.float64)]).sort(descending=True).values
    tracker = EigenTracker(threshold=1.5, maximum=64)
    found = tracker.update(point_with_hessian(symmetric(values, seed)[0]), ONE)
    np.testing.assert_allclose(found.values, values[: len(found.values)], atol=1e-3)
    above = found.values >= 1.5
    assert found.residuals[above].max() <= 8e-5 and found.residuals.max() <= 8e-4
    assert len(found.values) == int((values > 1.5).sum()) + 1


def test_guesses_are_a_power_step_ahead():
    """What is left of a residual is divided by the value and multiplied by those that it lies on; nothing grows."""
    values = torch.tensor([2.0, 1.2, 0.5, 0.1, -0.4], dtype=torch.float64)
    vectors = torch.eye(5, dtype=torch.float64)[:, :3] + 1e-3 * torch.tensor([[0, 0, 0]] * 3 + [[1, 1, 1]] * 2)
    found = Spectrum(values[:3], vectors, torch.zeros(3), 3, torch.diag(values) @ vectors)
    ahead = _one_step_ahead(found, 3)
    left = [[0.05, 0.1 / 1.2, 1 - 0.4], [-0.2, -0.4 / 1.2, 1 - 0.9]]  # for the third, a step of 1/1 and not of 1/0.5
    torch.testing.assert_close(ahead[3:], 1e-3 * torch.tensor(left, dtype=torch.float64))
    torch.testing.assert_close(ahead[:3], vectors[:3])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_hessian_that_vanishes_is_followed(dtype):
    tracker = EigenTracker(minimum=2)
    for _ in range(3):
        found = tracker.update(point_with_hessian(torch.zeros(9, 9, dtype=dtype)), torch.ones(1, dtype=dtype))
        assert torch.equal(found.values, torch.zeros(2, dtype=torch.float64))


def test_tracking_follows_the_preconditioned_problem():
    p = 60
    values = torch.linspace(4, 0.1, p, dtype=torch.float64)
    matrix, _ = symmetric(values)
    preconditioner = torch.linspace(0.5, 3, p, dtype=torch.float64)
    found = EigenTracker(threshold=1e9, minimum=3, tolerance=1e-9).update(point_with_hessian(matrix), preconditioner)
    dense = torch.linalg.eigvals(matrix / preconditioner[:, None]).real.sort(descending=True).values
    np.testing.assert_allclose(found.values, dense[:3], rtol=1e-8)
    u = found.vectors / preconditioner.sqrt()[:, None]
    torch.testing.assert_close(u.T @ (preconditioner[:, None] * u), torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(matrix @ u, preconditioner[:, None] * u * found.values, rtol=0, atol=1e-7)


def test_a_mode_without_coupling_that_overtakes_is_found():
    """In a diagonal Hessian nothing couples the tracked modes to one that rises; only the guard's noise sees it."""
    p, seen = 50, []
    tracker = EigenTracker(threshold=1.5, tolerance=1e-6)
    for step in range(16):
        values = torch.linspace(1, 0, p, dtype=torch.float64)
        values[0], values[30] = 1.8, 0.5 if step < 4 else 2.5
        seen.append(float(tracker.update(point_with_hessian(torch.diag(values)), ONE).values[0]))
    np.testing.assert_allclose(seen[:4], 1.8, atol=1e-6)
    np.testing.assert_allclose(seen[11:], 2.5, atol=1e-6)  # at most seven solves late


def test_modes_keep_their_sign_and_are_dropped_when_they_fall():
    values = torch.cat([torch.tensor([3.0, 2.5, 1.0]), torch.linspace(0.8, 0, 47)]).double()
    matrix, _ = symmetric(values)
    tracker = EigenTracker(threshold=1.5)
    first = tracker.update(point_with_hessian(matrix), ONE)
    second = tracker.update(point_with_hessian(1.01 * matrix), ONE)
    assert (first.vectors[:, :2] * second.vectors[:, :2]).sum(0).min() > 0.99
    assert len(tracker.update(point_with_hessian(0.3 * matrix), ONE).values) == 1


def test_more_modes_than_parameters_are_not_asked_for():
    matrix = torch.diag(torch.tensor([3.0, 2.5, 2.0], dtype=torch.float64))
    found = EigenTracker(threshold=0.1).update(point_with_hessian(matrix), ONE)
    np.testing.assert_allclose(found.values, [3.0, 2.5, 2.0], rtol=1e-10)


@pytest.mark.parametrize("seed", range(6))
def test_a_tolerance_out_of_reach_does_no_harm(seed):
    """Images are carried along; beyond convergence their errors must not grow into eigenvalues that are not there."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(26, 26, generator=generator, dtype=torch.float64))[0]
    exact = torch.cat([torch.tensor([2.0065, 2.002, 2.0015, 2.0002, 1.38]), torch.linspace(1.3, -0.4, 21)]).double()
    matrix = basis @ torch.diag(exact) @ basis.T
    guess = basis[:, :6] + 0.05 * torch.randn(26, 6, generator=generator, dtype=torch.float64)
    found = leading_eigenpairs(lambda v: matrix @ v, guess, wanted=5, tolerance=1e-17)
    # Rounding of 26 products, relative to the largest; the sum over iterations stays below a thousand of them.
    torch.testing.assert_close(found.values[:5], exact[:5], rtol=0, atol=1e-12)
