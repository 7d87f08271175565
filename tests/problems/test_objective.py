"""The objective: flat weights and back, frozen parameters, moving between dtypes, attention."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import hessian

from centralflows import Objective


def loss(f, y):
    return 0.5 * (f - y).square().sum(-1).mean()


def test_initial_weights_are_the_networks_own_in_order(tiny):
    parts = [p.detach().reshape(-1) for p in tiny.network.parameters()]
    assert torch.equal(tiny.initial_weights, torch.cat(parts))
    named = tiny.unflatten(tiny.initial_weights)
    assert all(torch.equal(named[name], value) for name, value in tiny.network.named_parameters())


def test_outputs_and_loss_are_the_networks(tiny):
    w = tiny.initial_weights
    assert torch.equal(tiny.outputs(w), tiny.network(tiny.inputs))
    assert torch.equal(tiny(w), loss(tiny.network(tiny.inputs), tiny.targets))
    assert torch.equal(tiny.outputs(w, tiny.inputs[:2]), tiny.network(tiny.inputs[:2]))


def test_the_network_is_not_modified(tiny):
    before = [p.detach().clone() for p in tiny.network.parameters()]
    tiny(tiny.initial_weights + 1)
    assert all(torch.equal(a, b) for a, b in zip(before, tiny.network.parameters(), strict=True))
    assert all(p.grad is None for p in tiny.network.parameters())


def test_frozen_parameters_are_not_weights():
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    network[0].weight.requires_grad_(False)
    objective = Objective(network, torch.randn(5, 3), torch.randn(5, 2), loss)
    assert objective.p == 4 + 8 + 2
    assert torch.equal(objective.outputs(objective.initial_weights), network(objective.inputs))


def test_tied_parameters_count_once():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))

    objective = Objective(Tied(), torch.randn(5, 3), torch.randn(5, 3), loss)
    w = torch.randn(9)
    assert objective.p == 9
    torch.testing.assert_close(objective.outputs(w), objective.inputs @ w.view(3, 3).T @ w.view(3, 3).T)


def test_a_module_may_be_used_twice():
    """Under one name or two: as the network itself, and as often as it is called."""

    class Transposed(nn.Module):
        def __init__(self, layer: nn.Linear):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return x @ self.layer.weight

    layer, first = nn.Linear(5, 5), nn.Linear(6, 4)
    for network, p in (
        (nn.Sequential(layer, nn.Tanh(), layer, nn.Linear(5, 2)), 30 + 12),
        (nn.Sequential(first, nn.Tanh(), Transposed(first)), 28),
    ):
        x = torch.randn(3, network[0].in_features)
        made = Objective(network, x, torch.zeros(3), lambda y, _: y.square().mean())
        assert made.p == p
        for _ in range(2):
            torch.testing.assert_close(made.outputs(made.initial_weights), network(x))
        shifted = made.initial_weights + 0.1
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += 0.1
        torch.testing.assert_close(
            made.to(dtype=torch.float64).head(2).outputs(shifted.double()), network(x[:2]).double()
        )


def test_a_subclass_stays_one_when_it_is_moved_or_cut(tiny):
    class Ridge(Objective):
        def __call__(self, w):
            return super().__call__(w) + 0.5 * w.square().sum()

    tiny = Ridge(tiny.network, tiny.inputs, tiny.targets, tiny.criterion)
    for other in (tiny.to(dtype=torch.float64), tiny.head(len(tiny.inputs))):
        torch.testing.assert_close(other(other.initial_weights).to(tiny.inputs), tiny(tiny.initial_weights))


def test_predictions_hold_one_slice_at_a_time(tiny):
    seen = []
    hook = tiny.network.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    tiny.set_microbatch_size(3)
    found = tiny.predictions(tiny.initial_weights, tiny.inputs[:7])
    assert seen == [3, 3, 1]
    hook.remove()
    torch.testing.assert_close(found, tiny.outputs(tiny.initial_weights, tiny.inputs[:7]))


def test_a_network_without_weights_is_refused():
    with pytest.raises(ValueError, match="no trainable parameter"):
        Objective(nn.ReLU(), torch.zeros(1, 1), torch.zeros(1, 1), loss)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused(dtype):
    with pytest.raises(ValueError, match="must be float32 or float64"):
        Objective(nn.Linear(2, 2).to(dtype), torch.zeros(1, 2), torch.zeros(1, 2), loss)


def test_mixed_dtypes_are_refused():
    with pytest.raises(ValueError, match="one dtype and device"):
        Objective(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double()), torch.zeros(1, 2), torch.zeros(1, 2), loss)


def test_moving_keeps_integers_and_leaves_the_original(tiny):
    network = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 5))
    tokens, labels = torch.randint(5, (4, 2)), torch.randint(5, (4,))
    objective = Objective(network, tokens, labels, nn.functional.cross_entropy)
    moved = objective.to(dtype=torch.float64)
    assert moved.initial_weights.dtype == torch.float64 and objective.initial_weights.dtype == torch.float32
    assert moved.inputs.dtype == moved.targets.dtype == torch.int64
    torch.testing.assert_close(moved(moved.initial_weights).float(), objective(objective.initial_weights))


def test_attention_has_second_derivatives():
    """The fused kernels of torch have none; the objective asks for the ones that do."""

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Linear(4, 12, bias=False)

        def forward(self, x):
            return nn.functional.scaled_dot_product_attention(*self.mix(x)[:, None].chunk(3, -1), is_causal=True)[:, 0]

    objective = Objective(Attention().double(), torch.randn(3, 5, 4).double(), torch.randn(3, 5, 4).double(), loss)
    dense = hessian(objective)(objective.initial_weights)
    torch.testing.assert_close(dense, dense.T)
    assert dense.abs().max() > 0
