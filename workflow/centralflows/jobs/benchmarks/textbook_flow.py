"""The textbook implementation of the central flow, for comparison: nested derivatives, nothing kept between steps."""

from __future__ import annotations

import torch
from torch import Tensor

from ...derivatives.eigen_solver import leading_eigenpairs
from ...derivatives.point import Function
from ...derivatives.svec import smat, svec, triangle
from ...flows.complementarity import solve_sdcp
from ...flows.experiment import Experiment
from ...flows.gram import gram


def textbook_step(experiment: Experiment, modes: int, substeps: int = 4) -> Tensor:
    """Return w after one unit of time of its flow, with the optimizer's state held.

    The eigen-solver finds `modes` modes from random vectors.
    """
    objective, start = experiment.objective, experiment.start
    w, counter = start.w, torch.tensor(float(start.first_step), dtype=torch.float64)
    preconditioner = experiment.optimizer.preconditioner(counter, start.state).to(w)
    basis = _modes(objective, w, preconditioner, modes)
    rows, columns, scales = triangle(modes)
    for _ in range(substeps):
        gradient = torch.func.grad(objective)(w)
        curvatures = gram(basis, torch.stack([_product(objective, w, u) for u in basis.T]).T)
        thirds = torch.stack(
            [
                scale * torch.func.grad(lambda x, i=i, j=j: _form(objective, x, basis[:, i], basis[:, j]))(w)
                for i, j, scale in zip(rows, columns, scales.tolist(), strict=True)
            ]
        ).T
        dw, dw_x = -gradient / preconditioner, -0.5 * thirds / preconditioner[:, None]
        slack = smat(2 * svec(gram(basis, preconditioner[:, None] * basis)) - svec(curvatures))
        rate, rate_x = -gram(thirds, dw[:, None])[:, 0], -gram(thirds, dw_x)
        solution = solve_sdcp(slack + smat(rate) / substeps, rate_x / substeps)
        w = w + (dw + dw_x @ torch.as_tensor(svec(solution.x)).to(w)) / substeps
    return w


def _form(objective: Function, w: Tensor, u: Tensor, v: Tensor) -> Tensor:
    return torch.func.jvp(lambda x: torch.func.jvp(objective, (x,), (u,))[1], (w,), (v,))[1]


def _product(objective: Function, w: Tensor, v: Tensor) -> Tensor:
    return torch.func.jvp(torch.func.grad(objective), (w,), (v,))[1]


def _modes(objective: Function, w: Tensor, preconditioner: Tensor, modes: int, tolerance: float = 1e-4) -> Tensor:
    """Return critical directions, found from random vectors."""
    root = preconditioner.sqrt()
    guess = torch.randn(modes + 1, len(w), generator=torch.Generator().manual_seed(0)).to(w).T

    def operator(vectors: Tensor) -> Tensor:
        return torch.stack([_product(objective, w, v / root) / root for v in vectors.T]).T

    found = leading_eigenpairs(operator, guess, wanted=modes, tolerance=tolerance)
    return found.vectors[:, :modes] / root[:, None]
