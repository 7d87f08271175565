"""The complementarity problem: closed forms, certificates, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from centralflows.derivatives.svec import smat, svec
from centralflows.flows.complementarity import NotMonotone, certificate, solve_sdcp


def problem(k: int, seed: int, *, definite: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    q = k * (k + 1) // 2
    a, root = smat(rng.standard_normal(q)), rng.standard_normal((q, q))
    return a, root @ root.T / q + definite * np.eye(q)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(k=st.integers(1, 12), seed=st.integers(0, 10_000))
def test_solutions_satisfy_the_problem(k, seed):
    a, b = problem(k, seed)
    x, gap, violation, _ = solve_sdcp(a, b)
    slack = a + smat(b @ svec(x))
    size = np.linalg.norm(a)
    assert np.linalg.eigvalsh(x)[0] >= -1e-12 * max(1, np.trace(x))
    assert np.linalg.eigvalsh(slack)[0] >= -1e-6 * size
    assert abs(np.sum(slack * x)) <= 1e-6 * size * max(np.trace(x), 1e-300)
    assert max(gap, violation) <= 1e-6


@settings(deadline=None, max_examples=30, derandomize=True)
@given(k=st.integers(1, 6), seed=st.integers(0, 10_000))
def test_a_constructed_solution_is_recovered(k, seed):
    """Choose X and a slack S with <X, S> = 0; then A = S - B[X] has X as its solution, unique as B is definite."""
    rng = np.random.default_rng(seed)
    _, b = problem(k, seed, definite=0.5)
    basis = np.linalg.qr(rng.standard_normal((k, k)))[0]
    rank = rng.integers(0, k + 1)
    x = (basis[:, :rank] * rng.uniform(0.5, 2, rank)) @ basis[:, :rank].T
    slack = (basis[:, rank:] * rng.uniform(0.5, 2, k - rank)) @ basis[:, rank:].T
    found = solve_sdcp(slack - smat(b @ svec(x)), b).x
    np.testing.assert_allclose(found, x, atol=1e-5)


def test_one_mode_is_a_half_line():
    assert solve_sdcp(np.array([[-3.0]]), np.array([[2.0]])).x == 1.5
    assert solve_sdcp(np.array([[3.0]]), np.array([[2.0]])).x == 0.0


def test_diagonal_problems_decouple():
    a, b = np.diag([-1.0, 2.0, -3.0]), np.diag([2.0, 1.0, 4.0, 1.0, 1.0, 5.0])
    np.testing.assert_allclose(solve_sdcp(a, b).x, np.diag([0.5, 0.0, 0.6]), atol=1e-9)


@settings(deadline=None, max_examples=20, derandomize=True)
@given(k=st.integers(2, 5), seed=st.integers(0, 10_000))
def test_rotating_the_basis_rotates_the_solution(k, seed):
    a, b = problem(k, seed)
    r = np.linalg.qr(np.random.default_rng(seed + 1).standard_normal((k, k)))[0]
    q = len(b)
    rotate = np.stack([svec(r @ smat(e) @ r.T) for e in np.eye(q)], axis=1)
    turned = solve_sdcp(r @ a @ r.T, rotate @ b @ rotate.T).x
    np.testing.assert_allclose(turned, r @ solve_sdcp(a, b).x @ r.T, atol=1e-5 * np.linalg.norm(a))


def test_an_operator_that_is_not_self_adjoint_is_solved_too():
    a, b = problem(3, 7, definite=1.0)
    skew = np.random.default_rng(8).standard_normal(b.shape) * 0.1
    b = b + (skew - skew.T)
    x = solve_sdcp(a, b).x
    assert np.trace(x) > 0
    gap, violation = certificate(a, b, x)
    assert max(gap, violation) < 1e-6


def test_the_solution_scales_with_the_problem():
    a, b = problem(3, 5)
    x = solve_sdcp(a, b).x
    np.testing.assert_allclose(solve_sdcp(1e-6 * a, 1e4 * b).x, 1e-10 * x, rtol=1e-5, atol=1e-16)


def test_a_penalty_that_lowers_the_slack_is_refused():
    with pytest.raises(NotMonotone, match="does not restore stability"):
        solve_sdcp(np.array([[-1.0]]), np.array([[-1.0]]))
    with pytest.raises(NotMonotone, match="does not restore stability"):
        solve_sdcp(-np.eye(2), np.diag([1.0, 1.0, -1.0]))
    with pytest.raises(NotMonotone):
        solve_sdcp(np.array([[-1.0]]), np.array([[0.0]]))


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ArithmeticError, match="not finite"):
        solve_sdcp(np.array([[-np.inf]]), np.array([[1.0]]))


def test_no_mode_and_enough_slack_need_no_solver():
    assert solve_sdcp(np.zeros((0, 0)), np.zeros((0, 0))).x.shape == (0, 0)
    assert not solve_sdcp(np.eye(3), -np.eye(6)).x.any()


def test_a_solution_of_a_problem_that_is_not_monotone_counts_if_certified():
    """B has a negative eigenvalue where X need not go; the solution is that of the decoupled half lines."""
    a, b = np.diag([-1.0, 5.0]), np.diag([2.0, 3.0, -0.5])
    x, gap, violation, monotonicity = solve_sdcp(a, b)
    np.testing.assert_allclose(x, np.diag([0.5, 0.0]), atol=1e-9)
    assert max(gap, violation) < 1e-9 and monotonicity == pytest.approx(-0.5 / 3)
