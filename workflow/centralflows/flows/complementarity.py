r"""The semidefinite complementarity problem that determines the covariance of the oscillations.

Find $X$ with $0 \preceq X \perp A + B[X] \succeq 0$. $A$ is the slack of the critical modes, and $B$ is its change per
unit of $X$, through the curvature penalty and other terms. $X$ is just large enough that no critical eigenvalue crosses the
edge of stability.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..common.errors import UserError
from ..derivatives.svec import order, smat, svec, triangle


class Unsolved(UserError, ArithmeticError):
    """The solver found no solution within the tolerance."""


class NotMonotone(Unsolved):
    """The operator B lowers the slack in some direction, so the problem need not have a solution."""


CURE = "start later (warm_start) or take a smaller learning rate"


class Solution(NamedTuple):
    """A solution with its certificate.

    Attributes:
        x: the matrix X `[k, k]`.
        gap: |<X, A + B[X]>| relative to |A| tr X; 0 for X = 0.
        violation: the distance by which the smallest eigenvalue of A + B[X] lies below zero, relative to |A|.
        monotonicity: smallest eigenvalue of the symmetric part of B relative to |B|; NaN if B was not examined. If it
            is negative, this is a solution by its certificate, but there may be others.
    """

    x: Float[ndarray, "k k"]
    gap: float
    violation: float
    monotonicity: float = np.nan


def solve_sdcp(a: Float[ndarray, "k k"], b: Float[ndarray, "q q"], *, tolerance: float = 1e-6) -> Solution:
    r"""Return the X with $0 \preceq X \perp A + B[X] \succeq 0$.

    For k = 1 the problem is one on a half line. For k > 1, X minimises
    $\tfrac12\langle X, B[X]\rangle + \langle A, X\rangle$ over $X \succeq 0$; the optimality conditions are the problem
    itself if B is self-adjoint and monotone. A conic solver finds the minimum with the symmetric part of B. Newton's
    method then solves the problem with the whole of B, to rounding. If B is strictly monotone, the solution is unique,
    and Newton's method is first tried alone because it costs less. If the symmetric part has negative eigenvalues, the
    conic solver uses its positive part. The result of Newton's method is then accepted only if its certificate holds
    for the whole of B, and `monotonicity` records the negative eigenvalue.

    Args:
        a: slack of the stability constraint, symmetric [1].
        b: its change per unit of X, as a matrix in the coordinates of `svec` (q = k(k+1)/2) [1/loss].
        tolerance: on both numbers of the certificate.

    Raises:
        NotMonotone: the symmetric part of b has an eigenvalue below -tolerance * ||b||, and no solution was found.
        Unsolved: the certificate fails; the message carries both numbers.

    Source: arXiv:2410.24206, the complementarity problem that determines Sigma(t).
    """
    k = len(a)
    zero = np.zeros((k, k))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise Unsolved("the complementarity problem holds a value that is not finite")
    if k == 0 or np.linalg.eigvalsh(a)[0] >= 0:
        return Solution(zero, 0.0, 0.0)
    size_a, size_b = np.linalg.norm(a), np.linalg.norm(b, 2)
    b_symmetric = (b + b.T) / 2
    floor = np.linalg.eigvalsh(b_symmetric)[0]
    if size_b == 0:
        raise NotMonotone(f"B is zero; raising X does not restore stability: {CURE}")
    a_unit, b_unit, monotonicity = svec(a) / size_a, b / size_b, floor / size_b
    if k == 1:
        x = _half_line(a_unit, b_unit)
    else:
        scale = _equilibrium(b_unit)
        a_even, b_even = scale * a_unit, scale[:, None] * b_unit * scale
        x = _direct(a_even, b_even) if monotonicity > 1e-6 else None
        if x is None:
            x = _polished(_conic(a_even, _monotone_part((b_even + b_even.T) / 2)), a_even, b_even)
        x = scale * x
    gap, violation = certificate(smat(a_unit), b_unit, smat(x))
    if not (gap <= tolerance and violation <= tolerance):
        if monotonicity < -tolerance:
            raise NotMonotone(
                f"B has eigenvalue {floor:.3e} at norm {size_b:.3e}: raising X does not restore stability in every "
                f"direction, and no solution was found (gap {gap:.1e}, violation {violation:.1e}): {CURE}"
            )
        raise Unsolved(
            f"the complementarity problem of size {k} was not solved: gap {gap:.1e}, violation {violation:.1e}, "
            f"tolerance {tolerance:.0e}: {CURE}"
        )
    return Solution(smat(x) * (size_a / size_b), gap, violation, monotonicity)


def certificate(a: Float[ndarray, "k k"], b: Float[ndarray, "q q"], x: Float[ndarray, "k k"]) -> tuple[float, float]:
    """Return the relative complementarity gap and constraint violation of a candidate X (see `Solution`)."""
    size = np.linalg.norm(a)
    slack = a + smat(b @ svec(x))
    gap = abs(np.sum(slack * x)) / (size * max(np.trace(x), np.finfo(float).tiny))
    return float(gap), float(max(0.0, -np.linalg.eigvalsh(slack)[0]) / size)


def _monotone_part(b: ndarray) -> ndarray:
    """Return the nearest self-adjoint operator without negative eigenvalues."""
    values, vectors = np.linalg.eigh(b)
    return (vectors * np.maximum(values, 0.0)) @ vectors.T


def _equilibrium(b: ndarray) -> ndarray:
    """Return scaling factors $d_i d_j$ of the coordinates for which B raises every mode's own slack by 1 per unit.

    $X = D Y D$ turns the problem into one of the same form for $Y$, with $D A D$ and $D B[D Y D] D$. The scaling
    removes large differences in how strongly the oscillations of the modes act on the slack; they are a matter of
    units.
    """
    k = order(len(b))
    rows, columns, _ = triangle(k)
    own = np.diag(b)[rows == columns]
    d = np.maximum(own, 1e-8 * np.abs(b).max()) ** -0.25
    return d[rows] * d[columns]


def _half_line(a: ndarray, b: ndarray) -> ndarray:
    """Return the solution for one mode."""
    if b[0, 0] <= 0:
        raise NotMonotone(f"B is negative; raising X does not restore stability: {CURE}")
    return np.maximum(0.0, -a / b[0])


def _direct(a: ndarray, b: ndarray) -> ndarray | None:
    """Return the unique solution for a strictly monotone B without the conic solver, or None if it is not found.

    If all modes oscillate, the solution satisfies B[X] = -A. Otherwise Newton's method starts from there, and nearly
    always finds it.
    """
    full = np.linalg.solve(b, -a)
    values, vectors = np.linalg.eigh(smat(full))
    if values[0] >= 0:
        return full
    x = _polished(svec((vectors * np.maximum(values, 0.0)) @ vectors.T), a, b)
    size = np.linalg.norm(a)
    gap, violation = certificate(smat(a / size), b, smat(x / size)) if x.any() else (np.inf, np.inf)
    return x if max(gap, violation) <= 1e-10 else None


def _conic(a: ndarray, b: ndarray) -> ndarray:
    """Return the x that minimises x'bx/2 + a'x such that the matrix smat(x) is positive semidefinite.

    The conic solver uses the same coordinates for symmetric matrices.
    """
    import clarabel  # with scipy, for the few problems that Newton's method does not solve
    from scipy import sparse

    q = len(a)
    k = len(smat(a))
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-12
    settings.static_regularization_constant = 1e-12  # the default, 1e-8, stops at errors of 1e-5
    problem = clarabel.DefaultSolver(
        sparse.csc_matrix(np.triu(b)),
        a,
        -sparse.identity(q, format="csc"),
        np.zeros(q),
        [clarabel.PSDTriangleConeT(k)],
        settings,
    )
    return np.asarray(problem.solve().x)


def _polished(x: ndarray, a: ndarray, b: ndarray) -> ndarray:
    r"""Return an approximate solution refined by Newton's method on $X = \Pi(X - A - B[X])$.

    The solutions of this equation are those of the complementarity problem. $\Pi$ is the projection to the positive
    semidefinite cone. In the eigenbasis of its argument, its derivative multiplies entry (i, j) by
    $(\lambda_i^+ - \lambda_j^+) / (\lambda_i - \lambda_j)$. From a good start the method converges quadratically. It
    stops at a step that does not reduce the residual.

    Source: D. Sun and J. Sun, "Semismooth matrix-valued functions", Math. Oper. Res. 27 (2002).
    """

    def project(x: ndarray) -> tuple[ndarray, ndarray, ndarray]:
        values, vectors = np.linalg.eigh(smat(x - a - b @ x))
        return svec((vectors * np.maximum(values, 0.0)) @ vectors.T), values, vectors

    identity = np.eye(len(x))
    projected, values, vectors = project(x)
    for _ in range(20):
        residual = x - projected
        if np.linalg.norm(residual) <= 1e-14 * np.linalg.norm(x):
            break
        difference = values[:, None] - values
        equal = np.abs(difference) < 1e-300
        positive = np.maximum(values, 0.0)
        slopes = np.where(equal, values > 0, (positive[:, None] - positive) / np.where(equal, 1.0, difference))
        turn = np.stack([svec(vectors.T @ smat(e) @ vectors) for e in identity], axis=1)
        rows, columns, _ = triangle(len(values))
        derivative = identity - (turn.T * slopes[rows, columns]) @ turn @ (identity - b)
        try:
            step = np.linalg.solve(derivative, residual)
        except np.linalg.LinAlgError:
            break
        following = project(x - step)
        if np.linalg.norm(x - step - following[0]) >= np.linalg.norm(residual):
            break
        x, (projected, values, vectors) = x - step, following
    return projected
