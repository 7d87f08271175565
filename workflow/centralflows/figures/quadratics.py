"""Gradient descent on quadratics, whose behaviour is known exactly: no run is needed."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy import ndarray

from .run_view import Runs
from .style import STABLE, panels

ITERATES = {"color": STABLE, "marker": "o", "ms": 4, "lw": 1.2}


def iterates(hessian: ndarray, start: ndarray, count: int) -> ndarray:
    r"""Return `count` iterates $w \leftarrow w - M w$ from a start, one per row, for $M = P^{-1} H$ `[d, d]`."""
    points = [np.asarray(start, dtype=float)]
    for _ in range(count - 1):
        points.append(points[-1] - hessian @ points[-1])
    return np.array(points)


def parabola(data: Runs) -> Figure:
    """Draw descent in one dimension: lr S = 1.9 converges, 2.1 diverges."""
    figure, axes = panels(2, sharey=True)
    for panel, product, relation in zip(axes, (1.9, 2.1), "<>", strict=True):
        w = iterates(np.array([[product]]), np.array([1.0]), 9)[:, 0]
        x = np.linspace(-2.4, 2.4, 200)
        panel.plot(x, x**2 / 2, color="black", lw=1.3)
        panel.plot(w, w**2 / 2, **ITERATES)
        panel.set(title=rf"$S {relation} 2/\eta$  ($\eta S = {product}$)", xlabel="w")
        panel.spines[["top", "right"]].set_visible(False)
    axes[0].set(ylabel="loss", ylim=(0, 2.9))
    return figure


def bowl(data: Runs) -> Figure:
    """Draw descent in two dimensions, with curvatures 2.2 / lr along (1, 1) and 0.11 / lr along (1, -1)."""
    directions = np.array([[1.0, 1.0], [1.0, -1.0]]).T / np.sqrt(2)
    curvatures = np.array([2.2, 0.11])
    hessian = directions @ np.diag(curvatures) @ directions.T
    figure, (panel,) = panels(1, width=3.6, height=3.6)
    _contours(panel, hessian, 1.6)
    _path(panel, iterates(hessian, directions @ np.array([-0.12, -1.0]), 13))
    _directions(panel, directions, (r"$q_1$: $\eta\lambda = 2.2$", r"$q_2$: $\eta\lambda = 0.11$"))
    panel.set(title="gradient descent on a quadratic")
    return figure


def preconditioned(data: Runs) -> Figure:
    """Draw descent with P = diag(2, 1): it diverges along an eigenvector of P^-1 H, not of H."""
    hessian, preconditioner = np.array([[11.0, 9.0], [9.0, 11.0]]) / 7, np.diag([2.0, 1.0])
    effective = np.linalg.solve(preconditioner, hessian)
    values, vectors = np.linalg.eig(effective)
    order = np.argsort(values)[::-1]
    figure, (panel,) = panels(1, width=3.6, height=3.6)
    _contours(panel, hessian, 2.5)
    _path(panel, iterates(effective, np.array([-1.0, 1.0]), 26))
    labels = tuple(rf"$q_{i + 1}$: $\lambda(P^{{-1}}H) = {values[j]:.2f}$" for i, j in enumerate(order))
    _directions(panel, vectors[:, order], labels)
    panel.set(title=r"preconditioned descent, $P = \mathrm{diag}(2, 1)$")
    return figure


def _contours(axes: Axes, hessian: ndarray, reach: float) -> None:
    x, y = np.meshgrid(*2 * [np.linspace(-reach, reach, 200)])
    loss = (hessian[0, 0] * x**2 + 2 * hessian[0, 1] * x * y + hessian[1, 1] * y**2) / 2
    axes.contourf(x, y, np.sqrt(loss), levels=14, cmap="viridis")
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel=r"$w_1$", ylabel=r"$w_2$")


def _path(axes: Axes, points: ndarray) -> None:
    inside = np.abs(points).max(axis=1) <= axes.get_xlim()[1]
    last = len(points) if inside.all() else int(np.argmin(inside)) + 1  # the line to the first point outside is drawn
    axes.plot(*points[:last].T, **ITERATES | {"color": "#ff4d3d"})


def _directions(axes: Axes, vectors: ndarray, labels: tuple[str, ...]) -> None:
    reach = axes.get_xlim()[1]
    for vector, label in zip(vectors.T, labels, strict=True):
        vector = vector * np.sign(vector[0]) / np.linalg.norm(vector)
        tip = 0.55 * reach * vector
        axes.annotate("", tip, (0, 0), arrowprops={"arrowstyle": "->", "color": "white", "lw": 1.8})
        axes.annotate(label, 1.12 * tip, color="white", ha="center", va="center", fontsize=9)
