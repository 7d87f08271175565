"""The contract that every optimizer keeps, and each against an independent implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from centralflows import GradientDescent, RMSProp, ScalarRMSProp
from centralflows.derivatives.svec import svec


def cosine(step):
    return 0.1 * (1 + torch.cos(step * math.pi / 50)) / 2


OPTIMIZERS = [
    GradientDescent(0.1),
    GradientDescent(cosine),
    ScalarRMSProp(0.1, 0.9),
    ScalarRMSProp(cosine, 0.95, eps=1e-3, bias_correction=True),
    RMSProp(0.1, 0.9, eps=1e-7),
    RMSProp(cosine, 0.99, eps=1e-3, bias_correction=True),
]
P = 7


@pytest.fixture(params=OPTIMIZERS, ids=repr)
def optimizer(request):
    return request.param


def vector(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*(shape or (P,)), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def at(step: float) -> torch.Tensor:
    return torch.tensor(step, dtype=torch.float64)


def after(optimizer, steps: int):
    """A state some steps from the start."""
    state = optimizer.initial_state(vector(0))
    for t in range(steps):
        state = optimizer.update(at(t + 1.0), state, vector(t + 1))
    return state


def test_the_preconditioner_is_positive_and_of_the_right_shape(optimizer):
    for steps in (1, 5):
        preconditioner = optimizer.preconditioner(at(steps), after(optimizer, steps))
        assert preconditioner.shape in ((1,), (P,)) and (preconditioner > 0).all()


def test_a_state_has_a_tensor_for_every_name(optimizer):
    assert len(optimizer.initial_state(vector(0))) == len(optimizer.state_names)


def test_the_drift_is_the_limit_of_the_update(optimizer):
    """One step at gradient g moves the state by its drift at the state it moves to (see `ema`)."""
    before, g = after(optimizer, 4), vector(9)
    following = optimizer.update(at(5.0), before, g)
    for old, new, drift in zip(before, following, optimizer.drift(at(5.0), following, g), strict=True):
        torch.testing.assert_close(new - old, drift)


def test_oscillations_add_the_second_derivative_of_the_drift(optimizer):
    """Over g +- the columns of (HU) X^(1/2), each with weight 1/2, the mean drift exceeds f(g) by half f'' on HU X (HU)'."""
    state, g, products, k = after(optimizer, 4), vector(9), vector(10, P, 3), 3
    root = vector(11, k, k)
    added = optimizer.drift_curvature(at(5.0), state, g, products)
    plain = optimizer.drift(at(5.0), state, g)
    x = torch.from_numpy(svec((root @ root.T).numpy()))
    expected = [torch.zeros_like(part) for part in state]
    for column in (products @ root).T:
        for sign in (1, -1):
            shifted = optimizer.drift(at(5.0), state, g + sign * column)
            for total, moved, still in zip(expected, shifted, plain, strict=True):
                total += (moved - still) / 2
    # The drift is quadratic in g, so differences of any size are exact.
    for part, total in zip(added, expected, strict=True):
        torch.testing.assert_close(part @ x, total, rtol=1e-10, atol=1e-10)


def test_the_rate_of_the_preconditioner_equals_differences(optimizer):
    state, h = after(optimizer, 4), 1e-7
    rates = tuple(vector(12 + i, *part.shape) for i, part in enumerate(state))

    def moved(s: float) -> torch.Tensor:
        shifted = tuple(part + s * rate for part, rate in zip(state, rates, strict=True))
        return optimizer.preconditioner(at(5.0 + s), shifted)

    expected = (moved(h) - moved(-h)) / (2 * h)
    torch.testing.assert_close(
        optimizer.preconditioner_rate(at(5.0), state, 1.0, rates), expected, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (GradientDescent(0.1), lambda w: torch.optim.SGD([w], lr=0.1)),
        (RMSProp(0.1, 0.9, eps=1e-3), lambda w: torch.optim.RMSprop([w], lr=0.1, alpha=0.9, eps=1e-3)),
        # Adam without momentum is RMSProp with bias correction.
        (
            RMSProp(0.1, 0.9, eps=1e-3, bias_correction=True),
            lambda w: torch.optim.Adam([w], lr=0.1, betas=(0.0, 0.9), eps=1e-3),
        ),
    ],
)
def test_iterates_are_torchs(ours, theirs):
    w = vector(0)
    parameter = torch.nn.Parameter(w.clone())
    reference, state = theirs(parameter), ours.initial_state(w)
    for t in range(20):
        g = vector(t + 1) + w
        parameter.grad = vector(t + 1) + parameter.detach()
        reference.step()
        state = ours.update(at(t + 1.0), state, g)
        w = w - g / ours.preconditioner(at(t + 1.0), state)
        torch.testing.assert_close(w, parameter.detach(), rtol=1e-12, atol=1e-12)


def test_scalar_rmsprop_is_its_closed_form():
    """nu_t = (1 - beta2) sum_s beta2^(t - s) |g_s|^2, and the step is lr g / (sqrt(nu_t / (1 - beta2^t)) + eps)."""
    optimizer = ScalarRMSProp(0.1, 0.9, eps=1e-3, bias_correction=True)
    nu = sum(0.1 * 0.9 ** (5 - s) * float(vector(s) @ vector(s)) for s in range(1, 6))
    state = after(optimizer, 5)
    assert float(state[0]) == pytest.approx(nu, rel=1e-12)
    expected = (math.sqrt(nu / (1 - 0.9**5)) + 1e-3) / 0.1
    np.testing.assert_allclose(optimizer.preconditioner(at(5.0), state), [expected], rtol=1e-12)


def test_a_weight_without_gradient_stands_still():
    optimizer = RMSProp(0.1, 0.9)
    g = vector(1)
    g[0] = 0.0
    state = optimizer.update(at(1.0), optimizer.initial_state(g), g)
    move = g / optimizer.preconditioner(at(1.0), state)
    rate = optimizer.preconditioner_rate(at(1.0), state, 1.0, optimizer.drift(at(1.0), state, g))
    assert move[0] == 0 and torch.isfinite(move).all() and torch.isfinite(rate).all()
