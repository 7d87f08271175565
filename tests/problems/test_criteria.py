"""Criteria against torch.nn.functional and values by hand, masks included."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from centralflows.common.errors import UnusableData
from centralflows.derivatives.derivative_check import derivative_errors
from centralflows.problems.criteria import CRITERIA, accuracy, cross_entropy, mean_squared_error


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


OUTPUTS = torch.randn(6, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.randint(-1, 4, (6, 5), generator=torch.Generator().manual_seed(1))


def test_cross_entropy_is_torchs():
    expected = functional.cross_entropy(OUTPUTS.flatten(0, 1), LABELS.flatten(), ignore_index=-1)
    torch.testing.assert_close(cross_entropy(OUTPUTS, LABELS), expected, rtol=1e-14, atol=0)


def test_cross_entropy_of_one_unit_is_torchs_logistic_loss():
    outputs, labels = OUTPUTS[..., :1], LABELS.clamp_max(1)
    kept = labels >= 0
    expected = functional.binary_cross_entropy_with_logits(outputs[kept][:, 0], labels[kept].double())
    torch.testing.assert_close(cross_entropy(outputs, labels), expected, rtol=1e-14, atol=0)
    # Far out it is linear on one side and vanishes on the other.
    far = cross_entropy(tensor(800.0, -800.0)[:, None], torch.tensor([0, 0]))
    assert far == 400


def test_squared_error_is_torchs():
    kept = LABELS >= 0
    one_hot = functional.one_hot(LABELS[kept], 4).double()
    expected = 0.5 * 4 * functional.mse_loss(OUTPUTS[kept], one_hot)  # torch averages over the units too
    torch.testing.assert_close(mean_squared_error(OUTPUTS, LABELS), expected, rtol=1e-14, atol=0)


def test_values_by_hand():
    outputs, labels = tensor(3.0, -1.0, 0.5)[:, None], torch.tensor([1, 0, -1])
    assert mean_squared_error(outputs, labels) == (0.5 * (3 - 1) ** 2 + 0.5 * (-1 + 1) ** 2) / 2
    assert mean_squared_error(tensor(1.0, 2.0)[None], torch.tensor([1])) == 0.5 * (1**2 + (2 - 1) ** 2)
    for units, classes in ((1, 2), (3, 3)):
        found = cross_entropy(torch.zeros(2, units, dtype=torch.float64), torch.tensor([0, 1]))
        assert float(found) == pytest.approx(math.log(classes), rel=1e-15)


@pytest.mark.parametrize("units", [1, 3])
@pytest.mark.parametrize("criterion", CRITERIA.values(), ids=CRITERIA)
def test_where_nothing_counts_the_loss_and_its_gradient_are_zero(criterion, units):
    outputs = torch.ones(4, units, requires_grad=True)
    loss = criterion(outputs, torch.full((4,), -1))
    loss.backward()
    assert loss == 0 and outputs.grad.abs().max() == 0
    assert criterion.weight(torch.full((4,), -1)) == 0


@pytest.mark.parametrize("units", [1, 3])
@pytest.mark.parametrize("criterion", CRITERIA.values(), ids=CRITERIA)
def test_three_derivatives_are_right_and_masked_outputs_have_none(criterion, units):
    labels = torch.tensor([0, 1, -1, 1])

    def loss(flat: torch.Tensor) -> torch.Tensor:
        return criterion(flat.view(4, units), labels)

    x = 2 * torch.randn(4 * units, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert max(derivative_errors(loss, x).values()) < 1e-5
    gradient = torch.func.grad(loss)(x).view(4, units)
    assert gradient[2].abs().max() == 0 and gradient[[0, 1, 3]].abs().min() > 0


@pytest.mark.parametrize("criterion", CRITERIA.values(), ids=CRITERIA)
def test_weights_make_the_whole_of_slices(criterion):
    weights = [criterion.weight(labels) for labels in LABELS]
    parts = [
        weight * criterion(outputs, labels) for weight, outputs, labels in zip(weights, OUTPUTS, LABELS, strict=True)
    ]
    torch.testing.assert_close(sum(parts) / sum(weights), criterion(OUTPUTS, LABELS), rtol=1e-14, atol=0)


@pytest.mark.parametrize("criterion", CRITERIA.values(), ids=CRITERIA)
def test_labels_that_are_no_classes_or_of_another_shape_are_refused(criterion):
    with pytest.raises(UnusableData, match=r"whole numbers \(these are torch.float32\); .* a criterion of your own"):
        criterion(torch.zeros(3, 2), torch.zeros(3))
    # Without the check the labels of 4 sequences would be those of their 4 tokens.
    with pytest.raises(
        UnusableData, match=r"outputs of shape \[4, units\] for labels of shape \[4\] \(got \[4, 4, 2\]\)"
    ):
        criterion(torch.zeros(4, 4, 2), torch.zeros(4, dtype=torch.int64))


def test_accuracy_counts_labels_that_are_not_masked():
    outputs = tensor(1, 2, 3, 0, 5, 5)[:, None] * tensor(0, 1, -1)
    assert accuracy(outputs, torch.tensor([1, 0, -1, 0, 1, 2])) == 3 / 5
    assert accuracy(tensor(0.1, -0.1, 2, -3)[:, None], torch.tensor([1, 1, 1, -1])) == 2 / 3
    assert accuracy(torch.randn(2, 3, 1), torch.full((2, 3), -1)) == 0
