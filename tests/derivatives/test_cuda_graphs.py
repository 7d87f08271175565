"""Recordings that do not work are given up. Those that do need a GPU (`tests/gpu`)."""

from __future__ import annotations

import pytest
import torch

from centralflows import Objective
from centralflows.common.errors import Diverged
from centralflows.derivatives.cuda_graphs import CudaGraphs
from centralflows.derivatives.evaluator import DerivativeEvaluator
from centralflows.derivatives.point import Point


class Broken(CudaGraphs):
    """Fails."""

    def __init__(self, error: Exception):
        self.error, self.tries = error, 0

    def load(self, w):
        self.tries += 1
        raise self.error

    value_and_gradient = load


def recorded(objective: Objective, error: Exception) -> tuple[DerivativeEvaluator, Broken]:
    """DerivativeEvaluator that would use CUDA graphs, and have to give them up."""
    points, broken = DerivativeEvaluator(objective), Broken(error)

    def _captured(w):
        points._graphs = broken if points._capturable else None
        return points._graphs

    points._captured = _captured
    return points, broken


@pytest.fixture
def objective() -> Objective:
    torch.manual_seed(0)
    inputs, targets = torch.randn(20, 4, dtype=torch.float64), torch.randn(20, 3, dtype=torch.float64)
    return Objective(torch.nn.Linear(4, 3).double(), inputs, targets, lambda f, y: (f - y).square().mean())


@pytest.mark.parametrize("derivative", ["at", "gradient"])
def test_a_recording_that_fails_is_given_up_once_and_for_all(objective, derivative):
    w = objective.initial_weights
    points, broken = recorded(objective, RuntimeError("operation not permitted\nmore"))
    with pytest.warns(UserWarning, match="without CUDA graphs: operation not permitted$"):
        found = getattr(points, derivative)(w)
    expected = Point(objective, w).gradient
    torch.testing.assert_close(found.gradient if derivative == "at" else found, expected)
    points.at(w + 1).hessian_product(torch.ones(objective.p, 1, dtype=torch.float64))
    assert broken.tries == 1


def test_a_recording_that_needs_too_much_memory_goes_before_slices_are_halved(objective):
    points, _ = recorded(objective, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.warns(UserWarning, match="without CUDA graphs: out of memory$"):
        points.at(objective.initial_weights)
    assert objective.microbatch_size == len(objective.inputs)


def test_errors_of_the_mathematics_pass(objective):
    points, broken = recorded(objective, Diverged("not finite"))
    with pytest.raises(Diverged):
        points.at(objective.initial_weights)
    assert broken.tries == 1
