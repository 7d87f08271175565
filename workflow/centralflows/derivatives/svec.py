r"""Symmetric $k \times k$ matrices as vectors, so that operators on them are ordinary matrices.

The coordinates are those of an orthonormal basis: the upper triangle column by column, off-diagonal entries times
$\sqrt2$. Then $\langle A, B \rangle = \mathrm{svec}(A) \cdot \mathrm{svec}(B)$, and a self-adjoint operator on
symmetric matrices is a symmetric matrix of size $q = k(k+1)/2$.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float
from numpy import ndarray


@lru_cache(maxsize=64)
def triangle(k: int) -> tuple[ndarray, ndarray, ndarray]:
    """Return the rows, columns and scales (1 or sqrt 2) of the coordinates of a symmetric k x k matrix, each `[q]`."""
    columns, rows = np.tril_indices(k)  # the lower triangle row by row is the upper one column by column
    return rows, columns, np.where(rows == columns, 1.0, np.sqrt(2.0))


def order(q: int) -> int:
    """Return the k with k(k+1)/2 = q."""
    k = int((np.sqrt(8 * q + 1) - 1) / 2)
    if k * (k + 1) // 2 != q:
        raise ValueError(f"{q} is not the number of entries of a triangle")
    return k


def svec(matrix: Float[ndarray, "k k"]) -> Float[ndarray, " q"]:
    """Return the coordinates of the symmetric part of a matrix."""
    rows, columns, scale = triangle(len(matrix))
    return (matrix[rows, columns] + matrix[columns, rows]) * (scale / 2)


def smat(vector: Float[ndarray, " q"]) -> Float[ndarray, "k k"]:
    """Return the symmetric matrix with the given coordinates."""
    k = order(len(vector))
    rows, columns, scale = triangle(k)
    matrix = np.zeros((k, k))
    matrix[rows, columns] = matrix[columns, rows] = vector / scale
    return matrix
