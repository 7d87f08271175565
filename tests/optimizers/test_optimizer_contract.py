"""The contract of optimizers: every rule of the package keeps it, and each way of breaking it is found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from centralflows import Experiment, GradientDescent, Objective, RMSProp, ScalarRMSProp
from centralflows.optimizers import schedules
from centralflows.optimizers.optimizer_contract import BrokenContract, check


@pytest.mark.parametrize("lr", [0.1, schedules.warmup(0.1, steps=30), schedules.cosine(0.1, steps=40)])
@pytest.mark.parametrize(
    "make",
    [
        GradientDescent,
        lambda lr: ScalarRMSProp(lr, 0.95),
        lambda lr: ScalarRMSProp(lr, 0.99, eps=0.1, bias_correction=True),
        lambda lr: RMSProp(lr, 0.9, eps=1e-6),
        lambda lr: RMSProp(lr, 0.99, bias_correction=True),
    ],
)
def test_every_rule_keeps_it(make, lr):
    check(make(lr))


@dataclass(frozen=True)
class WrongDrift(RMSProp):
    def drift(self, step, state, gradient):
        return tuple(-part for part in super().drift(step, state, gradient))


@dataclass(frozen=True)
class SlowDrift(RMSProp):
    def drift(self, step, state, gradient):
        return tuple(part / 3 for part in super().drift(step, state, gradient))


@dataclass(frozen=True)
class WrongCurvature(RMSProp):
    def drift_curvature(self, step, state, gradient, products):
        return tuple(2 * part for part in super().drift_curvature(step, state, gradient, products))


@dataclass(frozen=True)
class WrongRate(RMSProp):
    def preconditioner_rate(self, step, state, step_rate, state_rate):
        return super().preconditioner_rate(step, state, step_rate, state_rate) / 2


@dataclass(frozen=True)
class Negative(RMSProp):
    def preconditioner(self, step, state):
        return -super().preconditioner(step, state)


@dataclass(frozen=True)
class Matrix(RMSProp):
    def preconditioner(self, step, state):
        return torch.diag(super().preconditioner(step, state))


@dataclass(frozen=True)
class Nameless(RMSProp):
    state_names = ()


@dataclass(frozen=True)
class Misnamed(RMSProp):
    state_names = ("loss",)


@dataclass(frozen=True)
class Scalar(RMSProp):
    def initial_state(self, w):
        return (torch.zeros((), dtype=w.dtype),)

    def update(self, step, state, gradient):
        return (state[0] + 1,)


@dataclass(frozen=True)
class FalselyIsotropic(RMSProp):
    isotropic = True


@dataclass(frozen=True)
class LargestEntry(ScalarRMSProp):
    """A scalar state that is not one of the gradient's length."""

    def square(self, gradient):
        return gradient.square().max().reshape(1)


@dataclass(frozen=True)
class MeanEntry(ScalarRMSProp):
    """One that knows how many weights there are."""

    def square(self, gradient):
        return gradient.square().mean().reshape(1)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (WrongDrift, "drift is not the limit of update"),
        (SlowDrift, "drift is not the limit of update"),
        (WrongCurvature, "drift_curvature is not half the second derivative"),
        (WrongRate, "preconditioner_rate is not the derivative"),
        (Negative, "preconditioner is not positive"),
        (Matrix, r"preconditioner has shape \[7, 7\]"),
        (Nameless, "state_names has 0 names for 1 parts"),
        (Misnamed, "state_names may not be those of what is recorded anyway: loss"),
        (Scalar, r"each part of the state must be a vector \(found shapes \[\[\]\]\)"),
        (FalselyIsotropic, "isotropic, but its preconditioner or its state is not one number"),
        (LargestEntry, "isotropic, but its state depends on more of a gradient than its length"),
        (MeanEntry, "isotropic, but its state depends on more of a gradient than its length"),
    ],
)
def test_a_broken_optimizer_is_refused_before_it_runs(broken, message):
    network = torch.nn.Linear(3, 2)
    objective = Objective(network, torch.randn(5, 3), torch.randn(5, 2), lambda f, y: (f - y).square().mean())
    with pytest.raises(BrokenContract, match=f"{broken.__name__} cannot be used by the flows:\n  .*{message}"):
        Experiment(objective, broken(0.1, 0.9, eps=0.1), 3).run("discrete")


@pytest.mark.parametrize("make", [GradientDescent, lambda lr: RMSProp(lr, 0.9)])
def test_a_schedule_that_cannot_be_differentiated_is_refused(make):
    """Its rate would be missing from the flow, without a sign."""
    check(make(lambda step: 0.1 * (1 - 0.01 * step)))
    check(make(schedules.piecewise(0.1, steps=(12,), factors=(0.1,))))
    check(make(schedules.cosine(0.1, steps=10)))
    check(make(lambda step: 0.1 * (1 - 0.01 * step.float())))
    with pytest.raises(BrokenContract, match=r"in operations of torch, without float\(\)"):
        check(make(lambda step: 0.1 * np.exp(-step.numpy() / 100)))
    with pytest.raises(BrokenContract, match=r"in operations of torch, without float\(\)"):
        check(make(lambda step: 0.1 * (1 - 0.01 * float(step))))
