"""Error control: units of time are divided where a flow changes faster than its steps, and nowhere else."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from centralflows import Experiment, GradientDescent, Objective, RMSProp, ScalarRMSProp
from centralflows.common.errors import Diverged
from centralflows.config.processes import PUBLISHED_CENTRAL, CentralConfig
from centralflows.derivatives.counts import counted
from centralflows.derivatives.eigen_tracker import EigenTracker
from centralflows.derivatives.evaluator import DerivativeEvaluator
from centralflows.flows.central_flow import CentralFlow
from centralflows.flows.discrete_loop import Start
from centralflows.flows.error_control import Node, part_error
from centralflows.flows.flow import Frame, Snapshot
from centralflows.flows.flow_loop import flow_trajectory
from centralflows.flows.integrators import make_integrator
from centralflows.flows.observer import Observer
from centralflows.flows.stable_flow import StableFlow
from centralflows.optimizers.schedules import piecewise

UNCONTROLLED = CentralConfig(step_tolerance=1e9)


def squares(network: nn.Module, examples: int, seed: int, scale: float = 1.0) -> Objective:
    generator = torch.Generator().manual_seed(seed)
    inputs, targets = (torch.randn(examples, n, generator=generator) for n in (6, 2))
    objective = Objective(network, inputs, scale * targets, lambda f, y: 0.5 * (f - y).square().sum(-1).mean())
    return objective.to(dtype=torch.float64)


@cache
def jump() -> Experiment:
    """A network of normalised weights, whose sharpness rises from 0.9 to the edge within one unit of time."""
    normalised = nn.utils.parametrizations.spectral_norm
    torch.manual_seed(0)
    network = nn.Sequential(normalised(nn.Linear(6, 8)), nn.Tanh(), normalised(nn.Linear(8, 2))).eval()
    return Experiment(squares(network, 20, 3), GradientDescent(0.167), 10)


def followed(made: Experiment, central: CentralConfig, process: str = "central") -> list[dict]:
    return [record.values for record in replace(made, central=central).flow(process)]


def losses(values: list[dict]) -> np.ndarray:
    return np.array([each["loss"] for each in values])


def fine(made: Experiment, kind: type[CentralFlow] = CentralFlow, count: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """(losses, largest eigenvalues) by Euler steps, with eigenpairs and third derivatives at each of them."""
    start, h = made.start, 1 / count
    flow = kind(DerivativeEvaluator(made.objective), made.optimizer, start.first_step, h, held_slack="full")
    tracker, found, (w, state) = EigenTracker(tolerance=1e-6), [], (start.w, start.state)
    for i in range((made.steps - 1) * count + 1):
        point = flow.evaluator.at(w)
        spectrum = tracker.update(point, flow.preconditioner(i * h, w, state))
        if i % count == 0:
            found.append((point.loss.item(), spectrum.values[0].item()))
        dw, ds, _ = flow.velocity(i * h, w, state, Frame(spectrum.values, spectrum.vectors))
        w, state = w + h * dw, tuple(s + h * d for s, d in zip(state, ds, strict=True))
    return tuple(np.array(found).T)


def test_a_mode_that_arrives_within_a_unit_of_time_is_noticed():
    """Each unit errs by at most 0.02 of its move before the edge, in which the loss falls by a fifth of itself: 0.4 %. Three
    units lead to the edge; the loss contracts there, and their errors with it."""
    made = jump()
    exact, sharpness = fine(made)
    found = followed(made, CentralConfig())
    np.testing.assert_allclose(losses(found), exact, rtol=1.2e-2)
    # Held through a unit, the edge is kept to the error of the frame's prediction.
    assert max(each["effective_eigenvalues"][0] for each in found) < 2.05
    clear = abs(sharpness - 1.95) > 0.03  # a mode enters the problem at 1.95
    expected = np.where(sharpness > 1.95, 1, 0)
    assert [each["critical_modes"] for each in np.array(found)[clear]] == expected[clear].tolist()
    assert max(each["step_error"] for each in found) <= CentralConfig().step_tolerance
    assert max(each["step_parts"] for each in found) > 1
    # One step per unit is wrong without a word except for its recorded error.
    blind = followed(made, UNCONTROLLED)
    assert abs(losses(blind) / exact - 1).max() > 0.2 and max(each["step_error"] for each in blind) > 0.2


def test_without_a_critical_mode_the_central_flow_is_the_stable_flow():
    """Both err by at most 0.02 and 0.03 of the move in each unit, in which the loss falls by a fifth of itself: 1 %."""
    made = replace(jump(), steps=4)
    central = followed(made, CentralConfig())
    assert all(each["critical_modes"] == 0 for each in central)
    np.testing.assert_allclose(losses(central), losses(followed(made, CentralConfig(), "stable")), rtol=3e-2)


def calm(optimizer) -> Experiment:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 2))
    return Experiment(squares(network, 30, 1), optimizer, 30, warm_start=20)


@pytest.mark.parametrize(
    "optimizer", [GradientDescent(0.2), ScalarRMSProp(0.02, 0.95), RMSProp(1e-3, 0.95)], ids=["gd", "scalar", "rmsprop"]
)
def test_a_calm_run_is_followed_as_without_error_control(optimizer):
    made, runs, costs = calm(optimizer), [], []
    for central in (CentralConfig(), UNCONTROLLED):
        records = replace(made, central=central).flow("central")
        with counted() as counts:
            runs.append(list(records))
        costs.append(dict(counts))
    assert costs[0] == costs[1]
    assert all(np.array_equal(a.weights, b.weights) for a, b in zip(*runs, strict=True))
    assert [record.values["step_parts"] for record in runs[0]] == [0] + 29 * [1]


def test_a_flow_that_stands_at_its_minimum_in_float32_is_not_divided():
    """There the last bits of the weights change the gradient by as much as itself."""
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(20, 6, generator=generator), torch.randn(20, 2, generator=generator)
    torch.manual_seed(0)
    objective = Objective(nn.Linear(6, 2), inputs, targets, lambda f, y: 0.5 * (f - y).square().sum(-1).mean())
    records = list(Experiment(objective, GradientDescent(0.5), 120).flow("central"))
    assert records[0].weights.dtype == np.float32
    assert all(record.values["step_parts"] == 1 for record in records[-60:])


def test_the_published_discretisation_records_errors_and_stays_as_it_is():
    made = jump()
    runs = [followed(made, PUBLISHED_CENTRAL.model_copy(update={"step_tolerance": t})) for t in (1e-3, 1e9)]
    assert losses(runs[0]).tolist() == losses(runs[1]).tolist()
    assert [each["step_parts"] for each in runs[0]] == [0] + 9 * [1]
    assert (
        max(each["step_error"] for each in runs[0]) > CentralConfig().step_tolerance
    )  # the mode arrives within a unit


@pytest.mark.parametrize("process", ["central", "stable"])
def test_a_flow_resumes_within_a_harsh_stretch_to_the_last_bit(process):
    unbroken = list(jump().flow(process))
    assert max(record.values["step_parts"] for record in unbroken) > 2
    for t in range(len(unbroken) - 1):
        resumed = list(replace(jump()).flow(process, resume_state=unbroken[t].resume_state))
        assert [record.step for record in resumed] == list(range(t + 1, 10))
        for again, record in zip(resumed, unbroken[t + 1 :], strict=True):
            assert np.array_equal(again.weights, record.weights)
            assert again.values.keys() == record.values.keys()
            for name, value in record.values.items():
                np.testing.assert_array_equal(again.values[name], value, err_msg=f"{t} {name}")


@dataclass(frozen=True)
class Rough(StableFlow):
    """dy/dt = 1, and 1000 where y > 1/2 and 0 beyond: no part is short enough for the leap."""

    def velocity(self, time, w, state, frame):
        rate = torch.where(w > 0.5, torch.where(w > 1, 0.0, 1000.0), 1.0).to(w)
        return rate, (), Snapshot(torch.ones_like(w), torch.ones_like(w), None)


def test_an_error_that_stays_is_recorded_and_said_once():
    w = torch.zeros(1, dtype=torch.float64)
    flow = Rough(DerivativeEvaluator(lambda w: w.square().sum()), GradientDescent(1.0))
    integrator = make_integrator("heun2", 1, step_tolerance=1e-2)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        records = list(
            flow_trajectory(Observer("rough"), flow, integrator, Start(w, (), 0), steps=4, tracker=EigenTracker())
        )
    errors = [record.values["step_error"] for record in records]
    assert len(records) == 4 and errors[0] == 0 and errors[1] > 1e-2
    messages = [str(warning.message) for warning in said]
    assert sum("rough: step 1 has an estimated error" in message for message in messages) == len(messages) == 1
    # One half, then the shortest part with the leap, and each next part as long as all after the half before it.
    assert records[1].values["step_parts"] == 1 + 1 + 5


@dataclass(frozen=True)
class Swing(StableFlow):
    """dy/dt = y cos t, whose solution is exp(sin t)."""

    def velocity(self, time, w, state, frame):
        return w * torch.as_tensor(time, dtype=w.dtype).cos(), (), Snapshot(w, torch.ones_like(w), None)


@pytest.mark.parametrize("pace", [1, 4])
def test_the_estimate_is_the_defect_of_the_trapezoidal_rule(pace):
    flow = Swing(DerivativeEvaluator(lambda w: w.square().sum() / 2), GradientDescent(1.0))
    w, tracker = torch.ones(1, dtype=torch.float64), EigenTracker()
    before = Frame(torch.ones(1), torch.ones(1, 1), pace=pace)
    begin = Node.solved(flow, 2.0, w, (), before, tracker)
    ahead = make_integrator("rk4", 1).advance(flow, 2.0, w, (), begin.frame, begin.velocity)
    end = Node.solved(flow, 2.0 + 1 / pace, ahead.w, (), ahead.frame, tracker)
    move = ahead.w - w
    defect = (w * np.cos(2.0) + ahead.w * np.cos(2.0 + 1 / pace)) / (2 * pace) - move
    # A last rate just before the end or at it differs by a millionth.
    assert part_error(flow, begin, ahead, end) == pytest.approx(abs(defect / move / pace).item(), rel=1e-4)


@pytest.mark.parametrize("factor", [0.1, 3.0])
def test_a_jump_of_the_learning_rate_between_two_units_is_no_error(factor):
    """On a parabola of curvature 1 and rate s <= 0.15, Heun's move is s - s^2 / 2 and its defect s^3 / 4."""
    lr = piecewise(0.05, steps=[6], factors=[factor])
    flow = CentralFlow(DerivativeEvaluator(lambda w: w @ w / 2), GradientDescent(lr), 1, third_derivatives="followed")
    integrator = make_integrator("jameson3", 1, proportional=True, step_tolerance=2e-2)
    start = Start(torch.ones(1, dtype=torch.float64), (), 0)
    records = list(flow_trajectory(Observer("flow"), flow, integrator, start, steps=10, tracker=EigenTracker()))
    assert [record.values["step_parts"] for record in records] == [0] + 9 * [1]
    assert max(record.values["step_error"] for record in records) <= 0.15**3 / 4 / (0.15 - 0.15**2 / 2) * (1 + 1e-9)


def test_a_part_that_fails_is_redone_by_shorter_ones():
    """The loss 1.5 w^2 / 2 is not a number for w < 0, where one Euler step from w = 1 lands; the flow is exp(-1.5 t)."""

    def followed(**options) -> list[float]:
        flow = StableFlow(DerivativeEvaluator(lambda w: (0.75 * w**2 + 0 * w.log()).sum()), GradientDescent(1.0))
        start, integrator = Start(torch.ones(1, dtype=torch.float64), (), 0), make_integrator("euler", 1, **options)
        records = flow_trajectory(Observer("flow"), flow, integrator, start, steps=2, tracker=EigenTracker())
        return [record.weights[0] for record in records]

    with pytest.raises(Diverged, match="flow, step 1: the loss is not finite"):
        followed()
    # The defect of a part of length h is 1.5 h^2 / 2 of the unit's move at its speed: h is at most 1/16 for a hundredth.
    # Euler's factor (1 - 1.5 h)^(1 / h) then errs by about 1.5^2 h / 2, a fourteenth.
    assert followed(step_tolerance=1e-2)[1] == pytest.approx(np.exp(-1.5), rel=1.5**2 / 16 / 2 * 1.1)
