"""The flows on problems with exact solutions, and what they must not depend on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from centralflows.common.errors import Diverged, Stopped
from centralflows.config.processes import CentralConfig
from centralflows.derivatives.counts import counted
from centralflows.derivatives.eigen_tracker import EigenTracker
from centralflows.derivatives.evaluator import DerivativeEvaluator
from centralflows.derivatives.point import Point
from centralflows.flows.central_flow import AblatedFlow, CentralFlow, relaxation_time
from centralflows.flows.discrete_loop import Start
from centralflows.flows.flow import Frame, Snapshot
from centralflows.flows.flow_loop import flow_trajectory
from centralflows.flows.integrators import make_integrator
from centralflows.flows.observer import Observer
from centralflows.flows.stable_flow import StableFlow
from centralflows.optimizers.gd import GradientDescent
from centralflows.optimizers.rmsprop import RMSProp
from centralflows.optimizers.scalar_rmsprop import ScalarRMSProp
from centralflows.optimizers.schedules import piecewise


def run(loss, w0, *, lr, steps, flow=CentralFlow, integrator=None, **options):
    """(times, weights) of a flow of gradient descent on a plain function, with eigenpairs at every step."""
    w = torch.tensor(w0, dtype=torch.float64)
    integrator = integrator or make_integrator()
    if flow is CentralFlow:
        options = {"relaxation_time": 1.0 / integrator.substeps} | options
    made = flow(DerivativeEvaluator(loss), GradientDescent(lr), **options)
    records = flow_trajectory(
        Observer(flow.name), made, integrator, Start(w, (), 0), steps=steps, tracker=EigenTracker(tolerance=1e-12)
    )
    records = list(records)
    return records, np.stack([record.weights for record in records])


def toy(c):
    """L = y x^2 / 2 - c y: the sharpness is y (at x = 0), and it rises at the rate c."""
    return lambda w: w[1] * w[0] ** 2 / 2 - c * w[1]


def test_the_toy_stays_at_the_edge():
    """Exact central flow: y = min(y0 + lr c t, 2 / lr), and at the edge E[x^2] = 2 c holds y still."""
    lr, c, y0, steps = 0.1, 1.0, 18.0, 60
    records, weights = run(toy(c), [0.0, y0], lr=lr, steps=steps)
    exact = np.minimum(y0 + lr * c * np.arange(steps), 2 / lr)
    # Linear motion and a linear constraint: Euler is exact, but the edge is met within one substep of 1/4.
    np.testing.assert_allclose(weights[:, 1], exact, atol=lr * c / 4 + 1e-9)
    np.testing.assert_allclose(weights[:, 0], 0, atol=1e-12)
    late = records[-1].values
    np.testing.assert_allclose(late["variances"], [2 * c / lr], rtol=1e-6)  # P-normalised: x^2 / lr
    np.testing.assert_allclose(late["predicted_loss"] - late["loss"], 2 * c / lr, rtol=1e-6)
    assert late["rank"] == 1 and records[0].values["rank"] == 0


def two_modes(c1, c2):
    """Two toys side by side, so the rank goes 0, 1, 2 at known times."""
    return lambda w: (w[2] * w[0] ** 2 - 2 * c1 * w[2] + w[3] * w[1] ** 2 - 2 * c2 * w[3]) / 2


def test_the_rank_changes_at_the_exact_times():
    lr, y = 0.1, (19.0, 18.0)
    records, weights = run(two_modes(1.0, 1.0), [0.0, 0.0, *y], lr=lr, steps=40)
    times = np.arange(40)
    for column, y0 in zip((2, 3), y, strict=True):
        exact = np.minimum(y0 + lr * times, 2 / lr)
        np.testing.assert_allclose(weights[:, column], exact, atol=lr / 4 + 1e-9)
    rank = [record.values["rank"] for record in records]
    # The edge is met at t = 10 and t = 20; the constraint on the next substep acts at most one step early.
    assert rank[:9] == [0] * 9 and rank[11:19] == [1] * 8 and rank[21:] == [2] * 19


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_integrators_converge_at_their_order(method, order):
    """Gradient flow of a quadratic: w = exp(-H t / P) w0."""
    errors = []
    for substeps in (2, 4):
        _, weights = run(
            lambda w: (w**2 * torch.tensor([1.0, 0.5])).sum() / 2,
            [1.0, 1.0],
            lr=0.4,
            steps=6,
            flow=StableFlow,
            integrator=make_integrator(method, substeps),
        )
        exact = np.exp(-0.4 * 5 * np.array([1.0, 0.5]))
        errors.append(np.abs(weights[-1] - exact).max())
    # The next order changes the ratio by a factor 1 + O(0.4 / 2).
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.2)


def test_below_the_edge_both_flows_are_gradient_flow(tiny):
    frame = Frame(torch.tensor([1.0], dtype=torch.float64), torch.zeros(tiny.p, 1, dtype=torch.float64))
    w, optimizer = tiny.initial_weights, GradientDescent(0.01)
    central, _, _ = CentralFlow(DerivativeEvaluator(tiny), optimizer).velocity(0.0, w, (), frame)
    stable, _, snapshot = StableFlow(DerivativeEvaluator(tiny), optimizer).velocity(0.0, w, (), frame)
    assert torch.equal(central, stable)
    torch.testing.assert_close(stable, -0.01 * snapshot.gradient)


def beyond_the_edge(tiny, k: int, eigenvalue: float) -> tuple[float, Frame]:
    """A learning rate at which the k-th effective eigenvalue has the given value, and the frame of k modes."""
    hessian = EigenTracker(threshold=1e9, minimum=k, tolerance=1e-12).update(
        Point(tiny, tiny.initial_weights), torch.ones(1, dtype=torch.float64)
    )
    lr = eigenvalue / float(hessian.values[k - 1])
    return lr, Frame(lr * hessian.values, hessian.vectors)


def test_the_velocity_does_not_depend_on_the_basis(tiny):
    k = 3
    lr, frame = beyond_the_edge(tiny, k, 2.1)
    flow = CentralFlow(DerivativeEvaluator(tiny), GradientDescent(lr), held_slack="full")
    rotation = torch.linalg.qr(torch.randn(k, k, generator=torch.Generator().manual_seed(5), dtype=torch.float64))[0]
    straight, _, snapshot = flow.velocity(0.0, tiny.initial_weights, (), frame)
    turned, _, other = flow.velocity(0.0, tiny.initial_weights, (), Frame(frame.values, frame.vectors @ rotation))
    scale = straight.norm()
    # The certificate of the complementarity problem bounds both to well below 1e-8.
    assert (straight - turned).norm() < 1e-6 * scale
    np.testing.assert_allclose(
        snapshot.oscillation.principal()[0], other.oscillation.principal()[0], rtol=1e-6, atol=1e-9
    )


def test_the_slack_does_not_shrink_beyond_the_relaxation(tiny):
    """A/tau + dA/dt is positive semidefinite by differences along the velocity, with the eigenvectors held."""
    k, tau, h = 2, 0.25, 1e-5
    lr, frame = beyond_the_edge(tiny, k, 3.0)
    w = tiny.initial_weights
    dw, _, snapshot = CentralFlow(
        DerivativeEvaluator(tiny), GradientDescent(lr), relaxation_time=tau, held_slack="full"
    ).velocity(0.0, w, (), frame)
    u = snapshot.oscillation.basis

    def slack(w):
        return 2 * torch.eye(k, dtype=w.dtype) - u.T @ Point(tiny, w).hessian_product(u)

    rate = (slack(w + h * dw) - slack(w - h * dw)) / (2 * h)
    bound = (slack(w) / tau + rate).numpy()
    size = np.abs(rate.numpy()).max()
    assert np.linalg.eigvalsh((bound + bound.T) / 2)[0] > -1e-5 * size  # differences of step h err by h^2
    x = snapshot.oscillation.solution.x
    assert np.trace(x) > 0
    assert abs(np.sum(x * bound)) < 1e-5 * size * np.trace(x)


def test_predictions_are_those_of_an_oscillation_with_this_covariance(tiny):
    """E[L(w + d)] and E|grad L(w + d)|^2 over d = +-Sigma^(1/2) columns, to second order in d."""
    k = 2
    lr, frame = beyond_the_edge(tiny, k, 3.0)
    w = tiny.initial_weights
    _, _, snapshot = CentralFlow(DerivativeEvaluator(tiny), GradientDescent(lr)).velocity(0.0, w, (), frame)
    oscillation = snapshot.oscillation
    variances, directions = oscillation.principal()
    h = 1e-4
    loss = gradient = 0.0
    here = Point(tiny, w)
    for variance, direction in zip(variances, directions.T, strict=True):
        d = h * math.sqrt(variance) * direction
        plus, minus = Point(tiny, w + d), Point(tiny, w - d)
        loss += float(plus.loss + minus.loss - 2 * here.loss) / 2 / h**2
        half_difference = (plus.gradient - minus.gradient) / (2 * h)
        gradient += float(half_difference @ half_difference)
    assert np.sum(oscillation.curvatures * oscillation.solution.x) / 2 == pytest.approx(loss, rel=1e-5)
    assert oscillation.loss == np.trace(oscillation.solution.x)  # the same where the curvatures are 2
    assert oscillation.gradient_norm_squared == pytest.approx(gradient, rel=1e-5)


def test_without_a_state_the_ablated_flow_is_the_stable_one(tiny):
    _, frame = beyond_the_edge(tiny, 2, 3.0)
    w, optimizer = tiny.initial_weights, GradientDescent(0.1)
    ablated, _, _ = AblatedFlow(DerivativeEvaluator(tiny), optimizer).velocity(0.0, w, (), frame)
    stable, _, _ = StableFlow(DerivativeEvaluator(tiny), optimizer).velocity(0.0, w, (), frame)
    assert torch.equal(ablated, stable)


def test_the_ablated_flow_of_scalar_rmsprop_steps_by_two_over_the_sharpness():
    """On the toy, nu = c^2 until y = 2 c / lr; from then on dy/dt = 2 c / y, so y^2 = y_e^2 + 4 c (t - t_e)."""
    lr, c, y0, steps = 0.1, 1.0, 18.0, 80
    start = Start(torch.tensor([0.0, y0], dtype=torch.float64), (torch.tensor([c**2], dtype=torch.float64),), 0)
    flow = AblatedFlow(DerivativeEvaluator(toy(c)), ScalarRMSProp(lr, 0.9))
    records = list(
        flow_trajectory(Observer("ablated"), flow, make_integrator(), start, steps=steps, tracker=EigenTracker())
    )
    times, edge = np.arange(steps), 2 * c / lr
    late = np.sqrt(edge**2 + 4 * c * np.maximum(times - (edge - y0) / lr, 0))
    exact = np.where(times < (edge - y0) / lr, y0 + lr * times, late)
    # Euler: half a substep times |y''| = 4 c^2 / y^3 over 60 units, and the edge met within a substep of length lr / 4.
    np.testing.assert_allclose([r.weights[1] for r in records], exact, atol=0.125 * 4 / edge**3 * 60 + lr / 4)
    assert records[-1].values["effective_eigenvalues"][0] == pytest.approx(2, abs=1e-3)
    assert records[-1].values["step_size"] == pytest.approx(2 / exact[-1], rel=2e-3)


@pytest.mark.parametrize("optimizer", [ScalarRMSProp(0.1, 0.9), RMSProp(0.1, 0.9)], ids=["scalar", "rmsprop"])
def test_in_the_ablated_flow_only_the_state_feels_the_oscillation(optimizer):
    points, w = DerivativeEvaluator(toy(1.0)), torch.tensor([0.0, 22.0], dtype=torch.float64)
    state = (torch.ones_like(optimizer.initial_state(w)[0]),)
    preconditioner = optimizer.preconditioner(torch.tensor(5.0, dtype=torch.float64), state)
    spectrum = EigenTracker(tolerance=1e-10).update(points.at(w), preconditioner)
    frame = Frame(spectrum.values, spectrum.vectors)
    ablated, averaged, snapshot = AblatedFlow(points, optimizer).velocity(0.0, w, state, frame)
    stable, drift, _ = StableFlow(points, optimizer).velocity(0.0, w, state, frame)
    assert torch.equal(ablated, stable)
    assert snapshot.oscillation.loss > 0 and averaged[0][0] > drift[0][0]


def test_a_stiff_stable_flow_stops_and_says_so():
    with pytest.raises(Stopped, match=r"sharpness .* passed 1.9 at step \d+"):
        list(
            flow_trajectory(
                Observer("stable"),
                StableFlow(DerivativeEvaluator(toy(1.0)), GradientDescent(0.1)),
                make_integrator(),
                Start(torch.tensor([0.0, 18.0], dtype=torch.float64), (), 0),
                steps=50,
                tracker=EigenTracker(),
                stop_at_sharpness=1.9,
            )
        )


def test_a_diverging_flow_names_the_step():
    with pytest.raises(Diverged, match=r"stable, step \d+: the (loss is|gradient is|weights are) not finite"):
        run(lambda w: -(w**4).sum(), [3.0, 3.0], lr=1.0, steps=30, flow=StableFlow)


@pytest.mark.parametrize("rule", [GradientDescent, RMSProp], ids=["gd", "rmsprop"])
@pytest.mark.parametrize("seed", range(3))
def test_the_velocity_does_not_depend_on_the_order_of_the_weights(tiny, rule, seed):
    """Relabelling the parameters relabels the velocity of weights and state, and nothing else."""
    order = torch.randperm(tiny.p, generator=torch.Generator().manual_seed(seed))
    back = torch.argsort(order)
    w = tiny.initial_weights
    gradient = Point(tiny, w).gradient
    state = () if rule is GradientDescent else (gradient**2 + gradient.square().mean(),)
    step = torch.tensor(3.0, dtype=torch.float64)
    unit = GradientDescent(1.0) if rule is GradientDescent else RMSProp(1.0, 0.9)
    top = (
        EigenTracker(tolerance=1e-12, threshold=1e9)
        .update(Point(tiny, w), unit.preconditioner(step, state))
        .values[0]
        .item()
    )
    optimizer = GradientDescent(8.0 / top) if rule is GradientDescent else RMSProp(8.0 / top, 0.9)

    def velocity(objective, w, state):
        points = DerivativeEvaluator(objective)
        spectrum = EigenTracker(tolerance=1e-12).update(points.at(w), optimizer.preconditioner(step, state))
        flow = CentralFlow(points, optimizer, 3, held_slack="full")
        dw, ds, snapshot = flow.velocity(0.0, w, state, Frame(spectrum.values, spectrum.vectors))
        return dw, ds, snapshot.oscillation.loss

    dw, ds, loss = velocity(tiny, w, state)
    moved, ds_moved, loss_moved = velocity(lambda v: tiny(v[back]), w[order], tuple(part[order] for part in state))
    # Eigenvectors are converged to 1e-12 and the complementarity problem to rounding.
    torch.testing.assert_close(moved, dw[order], rtol=1e-6, atol=1e-8 * dw.norm().item())
    for part, part_moved in zip(ds, ds_moved, strict=True):
        torch.testing.assert_close(part_moved, part[order], rtol=1e-6, atol=1e-8 * part.norm().item())
    assert loss_moved == pytest.approx(loss, rel=1e-7) and loss > 0


@pytest.mark.parametrize("lr_c_tau", [0.2, 0.9, 1.1])
def test_a_mode_arrives_with_a_kink_and_not_with_a_jump_if_it_is_admitted_early_enough(lr_c_tau):
    """On the toy, a mode rises by lr^2 c a unit; admitted at slack 0.05, X is zero there if tau lr^2 c < 0.05."""
    lr, tau, slack = 0.1, 0.25, 0.05
    c = lr_c_tau * slack / tau / lr**2
    flow = CentralFlow(DerivativeEvaluator(toy(c)), GradientDescent(lr), relaxation_time=tau)
    vectors = torch.tensor([[1.0], [0.0]], dtype=torch.float64)

    def rise(value: float) -> float:
        w = torch.tensor([0.0, value / lr], dtype=torch.float64)
        dw, _, _ = flow.velocity(0.0, w, (), Frame(torch.tensor([value], dtype=torch.float64), vectors))
        return float(dw[1])

    before, after = rise(1.95 - 1e-9), rise(1.95 + 1e-9)
    assert before == pytest.approx(lr * c)
    # A/tau + dA/dt >= 0 lets the slack be used up in tau at the fastest: dy/dt = slack / (tau lr).
    assert after == pytest.approx(min(lr * c, slack / tau / lr), rel=1e-6)
    assert (abs(after - before) < 1e-6 * before) == (lr_c_tau < 1)


def test_what_tau_costs_on_the_toy():
    """The edge is approached as exp(-t / tau) from slack tau lr^2 c on, so y lags by at most tau lr c, and for a while."""
    lr, c, y0 = 0.1, 1.0, 18.0
    for tau in (0.125, 0.25, 0.5):
        integrator = make_integrator("rk4", 16)
        _, weights = run(toy(c), [0.0, y0], lr=lr, steps=40, integrator=integrator, relaxation_time=tau)
        exact = np.minimum(y0 + lr * c * np.arange(40), 2 / lr)
        lag = exact - weights[:, 1]
        assert lag.min() > -1e-9 and lag.max() < 1.001 * tau * lr * c
        assert abs(lag[30:]).max() < 1e-6


@pytest.mark.parametrize(("excess", "pace"), [(0.2, 3), (0.01, 1)])
def test_beyond_the_edge_steps_and_relaxation_are_shorter(excess, pace):
    """On the toy the excess falls as exp(-t / tau) to the edge; Heun's steps of length tau halve it each."""
    lr = 0.1
    integrator = make_integrator("heun2", 2, proportional=True)
    _, weights = run(
        toy(1.0), [0.0, (2 + excess) / lr], lr=lr, steps=2, integrator=integrator, third_derivatives="followed"
    )
    assert lr * weights[1, 1] - 2 == pytest.approx(excess / 2 ** (2 * pace), rel=1e-6)


def test_a_step_of_the_default_takes_an_excess_away():
    """Of exp(z), three stages make 1 + z + z^2/2 + z^3/8, which is nothing at z = -1/tau = -2."""
    lr, central = 0.1, CentralConfig()
    assert relaxation_time(central.method, central.substeps) == 0.5
    _, weights = run(
        toy(1.0),
        [0.0, 2.01 / lr],
        lr=lr,
        steps=2,
        integrator=make_integrator(central.method, central.substeps, proportional=True),
        third_derivatives="followed",
        relaxation_time=relaxation_time(central.method, central.substeps),
    )
    assert lr * weights[1, 1] == pytest.approx(2, rel=1e-9)


@pytest.mark.parametrize(("sharpness", "cubic"), [(1.1, 0), (1.3, 1 / 8)])
def test_far_below_the_edge_a_velocity_is_saved(sharpness, cubic):
    flow = StableFlow(DerivativeEvaluator(lambda w: sharpness * w @ w / 2), GradientDescent(1.0))
    w, integrator = torch.ones(1, dtype=torch.float64), make_integrator("jameson3", 1, proportional=True)
    frame = Frame(torch.tensor([sharpness], dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64))
    ahead, *_ = integrator.advance(flow, 0.0, w, (), frame)
    z = -sharpness
    assert ahead.item() == pytest.approx(1 + z + z**2 / 2 + cubic * z**3, rel=1e-12)


@dataclass(frozen=True)
class Swing(StableFlow):
    """dy/dt = y cos t, whose solution is exp(sin t)."""

    def velocity(self, time, w, state, frame):
        return w * math.cos(time), (), Snapshot(w, w, None)


def test_three_stages_are_of_second_order_in_time():
    w, frame = torch.ones(1, dtype=torch.float64), Frame(torch.zeros(1), torch.ones(1, 1))
    swing, errors = Swing(DerivativeEvaluator(lambda w: w.sum()), GradientDescent(1.0)), []
    for substeps in (8, 16, 32):
        ahead, *_ = make_integrator("jameson3", substeps).advance(swing, 0.0, w, (), frame)
        errors.append(abs(ahead.item() - math.exp(math.sin(1.0))))
    assert 3.7 < errors[0] / errors[1] < 4.3 and 3.7 < errors[1] / errors[2] < 4.3


def test_the_error_of_a_small_move_among_many_large_weights_is_seen():
    """20,000 weights near 10 that stand still, one that falls as exp(-3t), and a stiff one at rest. In float32 the last bits
    of all weights are 7e-4 long; made 70 times as large by the stiff direction, they would hide a move of 0.05 and that a
    single step of a unit of time errs by 0.05 of it. The tolerance is 0.03 of the move."""
    stiff, falling = torch.tensor([60.0, 3.0])
    made = StableFlow(
        DerivativeEvaluator(lambda w: (stiff * w[0] ** 2 + falling * w[1] ** 2) / 2 + 0 * w.sum()), GradientDescent(1.0)
    )
    w = torch.full((20_000,), 10.0)
    w[0], w[1] = 0.0, 0.05
    records = flow_trajectory(
        Observer("stable"),
        made,
        make_integrator("rkc2", 0.6),
        Start(w, (), 0),
        steps=2,
        tracker=EigenTracker(threshold=math.inf),
    )
    before, after = (record.weights[1] for record in records)
    assert abs(after - before * math.exp(-3)) < 0.03 * (before - after)


@pytest.mark.parametrize("factor", [0.1, 3.0])
@pytest.mark.parametrize(
    ("flow", "integrator", "error"),
    [
        (CentralFlow, make_integrator("jameson3", 1, proportional=True), 3e-3),
        (CentralFlow, make_integrator("euler", 4), 2e-2),
        (CentralFlow, make_integrator("rk4", 1), 1e-5),
        (StableFlow, make_integrator("rkc2", 0.6), 3e-3),
        (StableFlow, make_integrator("heun2", 1), 3e-3),
        (StableFlow, make_integrator("dopri5", 1), 1e-4),
    ],
)
def test_a_learning_rate_that_jumps_acts_from_its_step_on(flow, integrator, error, factor):
    """On a parabola of curvature 1, w is exp(-s) with s the sum of the rates so far: 0.05 in five steps, then 0.05 times the
    factor. Of each step Euler with 4 substeps misses s^2 / 8, a second-order method at most s^3 / 6. With the new rate already
    at the end of the step before it, half of a step would be of another length: 0.02 for the smaller factor, 0.05 for the
    larger."""
    first, lr = 1, piecewise(0.05, steps=[6], factors=[factor])  # step counter 6: the step from w_5 on
    made = flow(DerivativeEvaluator(lambda w: w @ w / 2), GradientDescent(lr), first)
    start = Start(torch.ones(1, dtype=torch.float64), (), 0)
    with counted() as counts:
        records = list(
            flow_trajectory(Observer("flow"), made, integrator, start, steps=10, tracker=EigenTracker(tolerance=1e-12))
        )
    passed = np.cumsum([0.0] + 5 * [0.05] + 4 * [0.05 * factor])
    np.testing.assert_allclose([record.weights[0] for record in records], np.exp(-passed), rtol=error)
    assert counts["gradients"] <= 10 * 8  # a jump within a step would be looked for by ever shorter ones
