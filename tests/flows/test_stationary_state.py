"""The stationary state by three roads that share no step, and the flow of the weights that it carries."""

from __future__ import annotations

import clarabel
import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from centralflows import GradientDescent, Objective, RMSProp, ScalarRMSProp
from centralflows.derivatives.eigen_tracker import EigenTracker
from centralflows.derivatives.evaluator import DerivativeEvaluator
from centralflows.derivatives.point import Point
from centralflows.derivatives.svec import smat, svec, triangle
from centralflows.flows import stationary_dual
from centralflows.flows.complementarity import solve_sdcp
from centralflows.flows.discrete_loop import Start
from centralflows.flows.flow import Frame
from centralflows.flows.flow_loop import flow_trajectory
from centralflows.flows.integrators import make_integrator
from centralflows.flows.observer import Observer
from centralflows.flows.stationary_dual import Program, duality_gap
from centralflows.flows.stationary_flow import StationaryAblatedFlow, StationaryFlow
from centralflows.flows.stationary_state import Unsettled, settle
from centralflows.problems.criteria import CRITERIA

LR = 0.3
STEP = torch.tensor(7.0, dtype=torch.float64)


@pytest.fixture(scope="module")
def point():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    inputs = torch.randn(40, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    objective = Objective(network, inputs, (inputs[:, 0] * inputs[:, 1] > 0).long(), CRITERIA["mse"])
    made = Point(objective, objective.initial_weights)
    made.objective = objective
    return made


def settled(point, optimizer, *, gradient=None, tolerance=1e-10):
    square = optimizer.square(point.gradient)
    tracker = EigenTracker(tolerance=1e-12)
    return settle(point, optimizer, STEP, (square + square.mean(),), tracker, gradient=gradient, tolerance=tolerance)


@pytest.mark.parametrize("optimizer", [RMSProp(LR, 0.9), RMSProp(LR, 0.9, eps=0.02), RMSProp(LR, 0.9, 0.02, True)])
def test_the_stationary_state_satisfies_its_conditions(point, optimizer):
    found = settled(point, optimizer)
    p, (nu,) = found.preconditioner, found.state
    torch.testing.assert_close(p, (nu.sqrt() + optimizer.eps) / LR)  # bias correction plays no part
    hessian = point.hessian_product(torch.eye(len(p), dtype=p.dtype))
    basis = found.oscillation.basis
    sigma = basis @ torch.from_numpy(found.oscillation.solution.x) @ basis.T
    scale = p.rsqrt()
    effective = torch.linalg.eigvalsh(scale[:, None] * hessian * scale)
    # What is left of the drift is 1e-10; it stands in all of these, times condition numbers below 1e3.
    assert effective[-1] == pytest.approx(2, abs=1e-7)
    assert torch.linalg.eigvalsh(sigma)[0] > -1e-12 * torch.linalg.norm(sigma)
    assert abs(torch.sum(sigma * (2 * torch.diag(p) - hessian))) < 1e-7 * torch.sum(sigma * torch.diag(p))
    torch.testing.assert_close(nu, point.gradient**2 + (hessian @ sigma @ hessian).diagonal(), rtol=1e-7, atol=0)
    torch.testing.assert_close(nu, point.gradient**2 + 4 * p**2 * sigma.diagonal(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("eps", [0.0, 0.02])
@pytest.mark.parametrize("rule", [RMSProp, ScalarRMSProp])
def test_it_solves_the_convex_program(point, rule, eps):
    """Two solvers with nothing in common; costs are quadratic near the optimum, so a gap of 1e-12 leaves 1e-6 in P.

    Gradients of similar size in every weight, as the second solver is slow otherwise.
    """
    optimizer = rule(LR, 0.9, eps=eps)
    gradient = 0.03 * (1 + torch.rand(len(point.w), generator=torch.Generator().manual_seed(3), dtype=torch.float64))
    found = settled(point, optimizer, gradient=gradient)
    program = Program(optimizer.square(gradient), LR, eps)
    preconditioner, gap = stationary_dual.solve(point.hessian_product, program, p=len(point.w), rank=6)
    assert -1e-12 <= gap < 1e-6
    torch.testing.assert_close(preconditioner, found.preconditioner, rtol=20 * max(gap, 1e-13) ** 0.5, atol=0)
    assert abs(duality_gap(program, found)) < 1e-9
    if rule is RMSProp:
        assert found.oscillation is not None


@pytest.mark.parametrize("optimizer", [ScalarRMSProp(lr, 0.9, eps=eps) for lr in (0.01, LR) for eps in (0.0, 0.05)])
def test_for_scalar_rmsprop_it_is_the_larger_of_two_numbers(point, optimizer):
    hessian = point.hessian_product(torch.eye(len(point.w), dtype=torch.float64))
    sharpness, square = torch.linalg.eigvalsh(hessian)[-1], point.gradient @ point.gradient
    expected = torch.maximum(square, (optimizer.lr * sharpness / 2 - optimizer.eps).clamp_min(0) ** 2)
    torch.testing.assert_close(settled(point, optimizer).state[0], expected.reshape(1), rtol=1e-8, atol=0)


def conic(square: np.ndarray, hessian: np.ndarray, lr: float) -> np.ndarray:
    """min tr P + lr^-2 sum square / P subject to 2 diag(P) - H >= 0, by a general conic solver.

    Unknowns (P, q): q_i P_i >= square_i / lr^2 is the second-order cone |(q - P, 2 |g| / lr)| <= q + P.
    """
    n = len(square)
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-12
    rows, right, cones = [], [], []
    for i in range(n):
        block = np.zeros((3, 2 * n))
        block[0, [i, n + i]] = -1, -1
        block[1, [i, n + i]] = 1, -1
        rows.append(block)
        right.append([0, 0, 2 * np.sqrt(square[i]) / lr])
        cones.append(clarabel.SecondOrderConeT(3))
    lmi = np.zeros((n * (n + 1) // 2, 2 * n))
    for i in range(n):
        unit = np.zeros((n, n))
        unit[i, i] = 2
        lmi[:, i] = -svec(unit)
    rows.append(lmi)
    right.append(-svec(hessian))
    cones.append(clarabel.PSDTriangleConeT(n))
    problem = clarabel.DefaultSolver(
        sparse.csc_matrix((2 * n, 2 * n)),
        np.ones(2 * n),
        sparse.csc_matrix(np.concatenate(rows)),
        np.concatenate(right),
        cones,
        settings,
    )
    return np.asarray(problem.solve().x)[:n]


@pytest.mark.parametrize("with_gradient", [True, False], ids=["stationary", "curvature"])
def test_a_general_conic_solver_agrees(point, with_gradient):
    """On 26 weights: P-bar, and P-hat from the curvature alone. Interior points end at 1e-8, so P agrees to its root."""
    gradient = point.gradient if with_gradient else torch.zeros_like(point.gradient)
    found = settled(point, RMSProp(LR, 0.9), gradient=gradient, tolerance=1e-7)
    hessian = point.hessian_product(torch.eye(len(point.w), dtype=torch.float64)).numpy()
    preconditioner = conic(gradient.square().numpy(), (hessian + hessian.T) / 2, LR)
    np.testing.assert_allclose(found.preconditioner, preconditioner, rtol=2e-3, atol=1e-4 * preconditioner.max())
    square = gradient.square().clamp_min(1e-60)
    assert duality_gap(Program(square, LR), found) < 1e-5


def test_it_is_where_the_frozen_dynamics_end(point):
    """The averaged EMA with w held, in short steps with dense matrices and from another start."""
    found, beta2, dt = settled(point, RMSProp(LR, 0.9)), 0.9, 2.0
    hessian = point.hessian_product(torch.eye(len(point.w), dtype=torch.float64)).numpy()
    hessian, square = (hessian + hessian.T) / 2, point.gradient.square().numpy()
    nu = 3 * found.state[0].numpy() + square.mean()
    for _ in range(250):
        scale = (np.sqrt(nu) / LR) ** -0.5
        values, vectors = np.linalg.eigh(scale[:, None] * hessian * scale)
        u = scale[:, None] * vectors[:, values > 1.8]
        k = u.shape[1]
        rows, columns, factors = triangle(k)
        hu = hessian @ u
        per_x = hu[:, rows] * hu[:, columns] * factors
        rate = dt * (1 - beta2) / beta2
        by_nu = 2 * (u[:, rows] * u[:, columns] * factors).T / (2 * np.sqrt(nu) * LR)
        slack = svec(2 * np.eye(k) - u.T @ hu) + rate * by_nu @ (square - nu)
        x = svec(solve_sdcp(smat(slack), rate * by_nu @ per_x).x) if k else np.zeros(0)
        nu = nu + rate * (square + per_x @ x - nu)
    # 250 steps of 2 / 9 leave exp(-62) of the start where one mode is critical, and more where two compete.
    np.testing.assert_allclose(found.state[0], nu, rtol=1e-5)


def test_an_optimizer_without_a_state_is_refused(point):
    with pytest.raises(Unsettled, match="GradientDescent has no state"):
        settle(point, GradientDescent(0.1), STEP, (), EigenTracker())


def test_a_state_that_does_not_settle_says_so(point):
    with pytest.raises(Unsettled, match=r"residual .* after 2 steps"):
        settle(point, RMSProp(LR, 0.9), STEP, (torch.ones_like(point.w),), EigenTracker(), iterations=2)


def test_a_flow_whose_state_does_not_settle_within_a_unit_says_so(point):
    found = settled(point, RMSProp(LR, 0.9))
    flow = StationaryFlow(DerivativeEvaluator(point.objective), RMSProp(LR, 0.9), 7, tolerance=1e-30)
    with pytest.raises(Unsettled, match="after 300 steps"):
        flow.velocity(0, point.w, found.state, Frame(found.spectrum.values, found.spectrum.vectors))


def toy(c):
    """L = y x^2 / 2 - c y: the sharpness is y, and |grad L| = c at x = 0."""
    return lambda w: w[1] * w[0] ** 2 / 2 - c * w[1]


@pytest.mark.parametrize("flow", [StationaryFlow, StationaryAblatedFlow])
def test_the_stationary_flows_of_the_toy(flow):
    r"""For Scalar RMSProp nu = max(c^2, (lr y / 2)^2), so y' = lr until y = 2 c / lr; then the penalty takes
    sigma^2 / 2 = lr^2 / 8 - c^2 / 2 y^2 off c, and y' = (2 / y) (c + c^2 / 2 y^2 - lr^2 / 8), or (2 / y) c without it."""
    lr, c, y, steps, fine = 0.1, 0.02, 0.35, 60, 1000
    optimizer = ScalarRMSProp(lr, 0.9)
    start = Start(torch.tensor([0.0, y], dtype=torch.float64), (torch.tensor([c**2], dtype=torch.float64),), 0)
    made = flow(DerivativeEvaluator(toy(c)), optimizer, tolerance=1e-9)
    tracker, integrator = EigenTracker(tolerance=1e-12), make_integrator("midpoint", 2)
    records = list(flow_trajectory(Observer(flow.name), made, integrator, start, steps=steps, tracker=tracker))
    exact = [y]
    for _ in range((steps - 1) * fine):
        penalty = (lr**2 / 8 - c**2 / (2 * y**2)) * (flow is StationaryFlow)
        y += (lr if y < 2 * c / lr else 2 / y * (c - penalty)) / fine
        exact.append(y)
    # Midpoint steps of 1/2: 60 times 1/24 1/8 |y'''|, and the kink at the edge missed by half a step once.
    np.testing.assert_allclose([r.weights[1] for r in records], exact[::fine], rtol=2e-3)
    assert records[-1].values["effective_eigenvalues"][0] == pytest.approx(2, abs=1e-4)
    nu = (lr * records[-1].weights[1] / 2) ** 2
    assert records[-1].values["state_total"] == pytest.approx(nu, rel=1e-4)


def test_the_velocity_written_out(point):
    """-P^-1 [g + 1/2 grad <H, Sigma>], the gradient by differences of the Hessian."""
    optimizer, h = RMSProp(LR, 0.9), 1e-5
    found = settled(point, optimizer)
    basis = found.oscillation.basis
    sigma = basis @ torch.from_numpy(found.oscillation.solution.x) @ basis.T
    objective = point.objective
    eye = torch.eye(len(point.w), dtype=torch.float64)

    def curvature(w):
        return torch.sum(Point(objective, w).hessian_product(eye) * sigma)

    penalty = torch.stack([(curvature(point.w + h * e) - curvature(point.w - h * e)) / (2 * h) for e in eye])
    flow = StationaryFlow(DerivativeEvaluator(objective), optimizer, 7, tolerance=1e-9)
    frame = Frame(found.spectrum.values, found.spectrum.vectors)
    dw, held, _ = flow.velocity(0, point.w, found.state, frame)
    expected = -(point.gradient + penalty / 2) / found.preconditioner
    torch.testing.assert_close(dw, expected, rtol=1e-5, atol=1e-7 * expected.norm().item())
    assert not held[0].any()
