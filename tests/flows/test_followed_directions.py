"""Eigenvectors keep identity and sign: at crossings, when modes come and go, and along a discrete run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from centralflows import Experiment, GradientDescent, Objective
from centralflows.analysis.directions import along, most_displaced
from centralflows.config.processes import SpectrumConfig
from centralflows.flows.followed_directions import follow


def columns(*vectors):
    return torch.tensor(vectors, dtype=torch.float64).T


def test_a_direction_keeps_number_and_sign_when_eigenvalues_cross():
    x, y, _ = torch.eye(3, dtype=torch.float64)
    first = follow(torch.stack([x, y], 1), None)
    second = follow(torch.stack([-y, x], 1), first)
    assert (first.numbers, second.numbers) == ((0, 1), (1, 0))
    assert torch.equal(second.vectors, torch.stack([y, x], 1))


def test_a_mode_that_appears_begins_a_direction_and_one_that_returns_begins_another():
    x, y, z = torch.eye(3, dtype=torch.float64)
    found = follow(x[:, None], None)
    found = follow(torch.stack([x, -z], 1), found)
    assert found.numbers == (0, 1) and torch.equal(found.vectors[:, 1], z)  # the sum of a new vector is positive
    found = follow(x[:, None], found)
    found = follow(torch.stack([x, z], 1), found)
    assert found.numbers == (0, 2)
    assert follow(y[:, None], found).numbers == (3,)


def test_a_slow_rotation_is_followed_all_around():
    found = None
    for angle in np.linspace(0, np.pi, 20):
        found = follow(columns([np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]), found)
    assert found.numbers == (0, 1)
    assert found.vectors[0, 0] == pytest.approx(-1)  # the sign is continuous, so that half a turn reverses it


class TwoValleys(torch.nn.Module):
    """L = (a x^2 + b y^2) / 2 - s with curvatures a = 2.4 + s / 50 and b = 2.5 - s / 50, which cross as s grows."""

    def __init__(self):
        super().__init__()
        self.x = torch.nn.Parameter(torch.tensor([0.3, 0.2], dtype=torch.float64))
        self.s = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, _):
        curvatures = torch.stack([2.4 + self.s / 50, 2.5 - self.s / 50])
        return (curvatures * self.x**2 / 2).sum() - self.s


def test_the_displacement_along_one_direction_is_multiplied_by_one_minus_lr_times_its_curvature():
    """Also while the curvatures cross.

    With r = 1 - lr a, of about -0.7, x is multiplied by r at each step, and the displacement x (2 - r - 1/r) / 4 from the
    midpoint too, as long as r is constant. Here r changes by lr^2 / 50 = 0.01 per step, which the second factor turns
    into a quarter of a per cent; which of two steps r belongs to makes 1.5 per cent.
    """
    objective = Objective(TwoValleys(), torch.zeros(1), torch.zeros(1), lambda out, _: out)
    lr = 0.7
    experiment = Experiment(objective, GradientDescent(lr), 12, spectrum=SpectrumConfig(minimum=2))
    midpoint = experiment.run(("discrete", "midpoint"), check="off")["midpoint"].isel(mode=slice(2))
    leading = midpoint.direction.isel(mode=0).values
    assert (np.diff(leading) != 0).sum() == 1  # they cross once
    number = most_displaced(midpoint)
    x, curvature = (along(midpoint[v], midpoint.direction, number) for v in ("oscillation", "hessian_eigenvalues"))
    np.testing.assert_allclose(x.values[2:] / x.values[1:-1], 1 - lr * curvature.values[1:-1], rtol=0.02)
