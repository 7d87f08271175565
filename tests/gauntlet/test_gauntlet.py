"""Networks, losses and calls of strangers: each runs and is right, or is refused in a sentence of ours."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable

import gauntlet_libraries  # noqa: F401  (adds its cases)
import numpy as np
import pytest
import torch
from gauntlet_cases import CASES, Case, Problem
from networks_page import OUTCOMES, PAGE, remark, rows
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn

from centralflows import Experiment, GradientDescent, Objective
from centralflows.common.errors import UserError
from centralflows.derivatives.derivative_check import NotSmoothWarning
from centralflows.derivatives.point import Point
from centralflows.problems.precision import Float64
from centralflows.problems.trees import moved

STEPS = 4


def named(case: Case) -> str:
    return case.name


def made(case: Case) -> tuple[Problem, Callable[[], Objective]]:
    if importlib.util.find_spec(case.needs) is None:
        pytest.skip(f"{case.needs} is not installed (make gauntlet)")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem = case.make()
    if problem.make is not None:
        return problem, problem.make
    arguments = (problem.network, problem.inputs, problem.targets, problem.criterion)
    return problem, lambda: Objective(*arguments, **problem.options)


@pytest.mark.parametrize("case", [case for case in CASES if case.outcome == "refused"], ids=named)
def test_what_cannot_be_right_is_refused_in_a_sentence(case):
    _, objective = made(case)
    with pytest.raises((UserError, TypeError), match=case.why) as error:
        Experiment(objective(), GradientDescent(0.1), 2).run()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("case", [case for case in CASES if case.outcome == "warns"], ids=named)
def test_what_is_not_smooth_runs_with_one_warning(case):
    problem, objective = made(case)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        experiment = Experiment(objective(), GradientDescent(0.01), STEPS)
        discrete = experiment.run("discrete")["discrete"]
    said = [str(warning.message) for warning in caught if warning.category is NotSmoothWarning]
    assert len(said) == 1 and case.why in said[0]
    expected = descended(problem, 0.01)
    np.testing.assert_allclose(discrete.loss, expected, rtol=1e-4)  # float32, in another order
    assert rows(PAGE.read_text())[case.name][1] == remark(experiment.objective)


@pytest.mark.parametrize("case", [case for case in CASES if case.outcome == "runs"], ids=named)
def test_what_runs_is_right(case):
    problem, objective = made(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        objective = objective()
    torchs = Torchs(problem, objective.initial_weights)
    sharpness = torchs.top_eigenvalue()
    lr = 0.4 / max(abs(sharpness), 1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", NotSmoothWarning)
        found = Experiment(objective, GradientDescent(lr), STEPS).run()
    assert rows(PAGE.read_text())[case.name][1] == remark(objective)
    assert all("stopped" not in dataset.attrs for dataset in found.values())

    # The tracker's own tolerance is 1e-4 of the eigenvalue; torch's gradients are differenced in its own precision.
    if sharpness > 0:
        np.testing.assert_allclose(found["midpoint"].effective_eigenvalues[0, 0], lr * sharpness, rtol=torchs.tolerance)
    third, differenced, scale = torchs.third_derivatives(objective)
    assert (third - differenced).norm() <= torchs.tolerance * scale

    # Below the edge the central flow is the stable flow; they are integrated to 2e-2 and 3e-2 of their moves.
    stable, central = (found[process].loss.values for process in ("stable", "central"))
    np.testing.assert_allclose(central, stable, rtol=0, atol=5e-2 * (stable[0] - stable[-1]) + 1e-6 * abs(stable[0]))
    np.testing.assert_allclose(found["discrete"].loss, descended(problem, lr), rtol=1e-4, atol=1e-6)


class Torchs:
    """The loss and its gradient as torch computes them on the stranger's network, in float64."""

    step = 1e-5  # of differences, relative to the weights: truncation is of order step^2, rounding of 1e-16 / step
    tolerance = 2e-3  # the eigen-solver's residual is up to 8e-4 of the largest eigenvalue

    def __init__(self, problem: Problem, w: Tensor):
        self.network, self.loss, self.w = problem.network, loss_of(problem), w.double()
        self.values = [value for value in self.network.parameters() if value.requires_grad]
        self.network.double()

    def gradient(self, w: Tensor) -> Tensor:
        before = [value.detach().clone() for value in self.values]
        parts = w.split([value.numel() for value in self.values])
        with torch.no_grad():
            for value, part in zip(self.values, parts, strict=True):
                value.copy_(part.view(value.shape))
        with Float64():  # for what is float32 inside of the network
            found = torch.autograd.grad(self.loss(self.network), self.values, allow_unused=True)
        with torch.no_grad():
            for value, old in zip(self.values, before, strict=True):
                value.copy_(old)
        dense = [torch.zeros_like(v) if g is None else g.to_dense() for v, g in zip(self.values, found, strict=True)]
        return torch.cat([g.reshape(-1) for g in dense]).double()

    def product(self, v: Tensor) -> Tensor:
        h = self.step * self.w.norm() / v.norm()
        return (self.gradient(self.w + h * v) - self.gradient(self.w - h * v)) / (2 * h)

    def top_eigenvalue(self) -> float:
        size = len(self.w)
        start = np.random.default_rng(0).standard_normal(size)
        product = lambda v: self.product(torch.from_numpy(v.ravel())).numpy()  # noqa: E731
        operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
        return float(eigsh(operator, k=1, which="LA", v0=start, tol=self.tolerance / 10, return_eigenvectors=False)[0])

    def third_derivatives(self, objective: Objective) -> tuple[Tensor, Tensor, float]:
        """Return d/dw u'Hu of the objective, the same from differences of torch's gradients, and their scale."""
        u = torch.randn(self.w.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        u[self.gradient(self.w) == 0] = 0  # padding rows of embeddings: weights to torch, constants here
        u *= self.w.norm() / u.norm()
        point = Point(objective.to(dtype=torch.float64), self.w)
        found = point.curvature_gradients(u[:, None])[:, 0]
        h = 30 * self.step  # rounding is 1e-16 / h^2
        here, ahead, behind = (self.gradient(self.w + s * u) for s in (0.0, h, -h))
        second = point.hessian_product(u[:, None]).norm().item()
        return found, (ahead - 2 * here + behind) / h**2, max(found.norm().item(), second)


def loss_of(problem: Problem) -> Callable[[nn.Module], Tensor]:
    if problem.loss is not None:
        return problem.loss

    def loss(network: nn.Module) -> Tensor:
        dtype = next(network.parameters()).dtype
        inputs, targets = moved(problem.inputs, None, dtype), moved(problem.targets, None, dtype)
        outputs = network(*inputs) if isinstance(inputs, tuple) else network(inputs)
        return problem.criterion(outputs, targets).mean()

    return loss


def descended(problem: Problem, lr: float) -> list[float]:
    """Return the losses of `torch.optim.SGD` on the stranger's network, which it changes."""
    network, loss = problem.network.float(), loss_of(problem)
    optimizer, losses = torch.optim.SGD(network.parameters(), lr=lr), []
    for _ in range(STEPS):
        value = loss(network)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses


def test_the_page_lists_every_case_with_its_outcome():
    page = rows(PAGE.read_text())
    assert {case.name: OUTCOMES[case.outcome] for case in CASES} == {name: row[0] for name, row in page.items()}
