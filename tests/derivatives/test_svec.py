"""Symmetric matrices as vectors: an isometry, and its inverse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from centralflows.derivatives.svec import order, smat, svec, triangle

sizes = settings(max_examples=40, deadline=None, derandomize=True)
EPS = np.finfo(float).eps


def symmetric(k: int, seed: int) -> np.ndarray:
    matrix = np.random.default_rng(seed).standard_normal((k, k))
    return matrix + matrix.T


def test_two_by_two_by_hand():
    assert svec(np.array([[1.0, 2.0], [2.0, 3.0]])).tolist() == [1.0, 2.0 * np.sqrt(2.0), 3.0]
    assert svec(np.array([[1.0, 4.0], [0.0, 3.0]])).tolist() == [1.0, 2.0 * np.sqrt(2.0), 3.0]  # its symmetric part


def test_the_triangle_goes_column_by_column():
    rows, columns, _ = triangle(3)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2)]


@sizes
@given(k=st.integers(1, 12), seed=st.integers(0, 10_000))
def test_each_undoes_the_other(k, seed):
    matrix = symmetric(k, seed)
    vector = np.random.default_rng(seed).standard_normal(k * (k + 1) // 2)
    # an entry is doubled and halved exactly, and multiplied and divided by sqrt 2: two roundings
    np.testing.assert_allclose(smat(svec(matrix)), matrix, rtol=2 * EPS)
    np.testing.assert_allclose(svec(smat(vector)), vector, rtol=2 * EPS)
    assert np.array_equal(smat(vector), smat(vector).T)


@sizes
@given(k=st.integers(1, 12), seed=st.integers(0, 10_000))
def test_inner_products_are_preserved(k, seed):
    a, b = symmetric(k, seed), symmetric(k, seed + 1)
    # k^2 products summed: an error of at most (k^2 + 4) eps relative to the sum of their sizes
    bound = (k * k + 4) * EPS * np.sum(np.abs(a * b))
    assert abs(svec(a) @ svec(b) - np.sum(a * b)) <= bound


def test_an_operator_becomes_a_matrix():
    """X -> M X M in these coordinates is symmetric and has the products of M's eigenvalues as its own."""
    m = symmetric(3, 0)
    operator = np.stack([svec(m @ smat(unit) @ m) for unit in np.eye(6)], axis=1)
    np.testing.assert_allclose(operator, operator.T, atol=100 * EPS * np.abs(operator).max())
    values = np.linalg.eigvalsh(m)
    products = sorted(values[i] * values[j] for i in range(3) for j in range(i + 1))
    np.testing.assert_allclose(np.linalg.eigvalsh(operator), products, atol=100 * EPS * np.abs(operator).max())


def test_the_order_is_found_from_the_number_of_entries():
    triangular = {k * (k + 1) // 2: k for k in range(1, 60)}
    for q, k in triangular.items():
        assert order(q) == k
    for q in set(range(1, 1000)) - set(triangular):
        with pytest.raises(ValueError, match=f"^{q} is not the number of entries of a triangle$"):
            order(q)


def test_a_vector_of_another_length_is_refused():
    with pytest.raises(ValueError, match="4 is not the number"):
        smat(np.zeros(4))
