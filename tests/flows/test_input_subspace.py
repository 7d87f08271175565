"""The span of the examples: the same mathematics in shorter vectors, and only where it is the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from centralflows import Experiment, GradientDescent, Objective, RMSProp, ScalarRMSProp
from centralflows.derivatives.evaluator import DerivativeEvaluator
from centralflows.derivatives.point import value_and_gradient
from centralflows.flows.input_subspace import InputSubspace, Subspace, subspace_of
from centralflows.problems.criteria import mean_squared_error
from centralflows.store.trajectory import PROCESSES


@dataclass(frozen=True)
class AllWeights(GradientDescent):
    """Gradient descent that is followed in all weights."""

    isotropic = False


@dataclass(frozen=True)
class ScalarAllWeights(ScalarRMSProp):
    isotropic = False


def objective(*layers: nn.Module, n: int = 12, shape: tuple[int, ...] = (3, 4, 4), **settings) -> Objective:
    """Few images for a network of dense layers, in float64."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    layers = layers or (nn.Flatten(), nn.Linear(48, 8), nn.GELU(), nn.Linear(8, 3))
    inputs = torch.randn(n, *shape, generator=generator).double()
    return Objective(nn.Sequential(*layers).double(), inputs, torch.arange(n) % 3, mean_squared_error, **settings)


@pytest.fixture
def whole() -> Objective:
    return objective()


@pytest.fixture
def smaller(whole) -> InputSubspace:
    found = subspace_of(whole, GradientDescent(0.1), whole.initial_weights)
    assert isinstance(found, InputSubspace)
    return found


def test_coordinates_and_weights_are_each_others_inverse_and_keep_lengths(whole, smaller):
    w = whole.initial_weights
    z = smaller.coordinates(w)
    assert len(w) == 48 * 8 + 8 + 27 and len(z) == smaller.objective.p == 12 * 8 + 8 + 27
    torch.testing.assert_close(smaller.weights(z), w, rtol=0, atol=1e-15)
    direction = torch.randn_like(z)
    torch.testing.assert_close(smaller.coordinates(smaller.directions(direction)), direction)
    torch.testing.assert_close(smaller.directions(direction).norm(), direction.norm())
    torch.testing.assert_close(smaller.weights(z + direction) - w, smaller.directions(direction))


def test_derivatives_of_the_first_three_orders_are_the_same(whole, smaller):
    w, generator = whole.initial_weights, torch.Generator().manual_seed(1)
    z = smaller.coordinates(w)
    vectors = torch.randn(len(z), 2, generator=generator, dtype=torch.float64)
    full = torch.stack([smaller.directions(v) for v in vectors.T]).T
    point, shorter = DerivativeEvaluator(whole).at(w), DerivativeEvaluator(smaller.objective).at(z)
    torch.testing.assert_close(shorter.loss, point.loss)
    torch.testing.assert_close(smaller.directions(shorter.gradient), point.gradient)
    for short, long in (
        (shorter.hessian_product(vectors), point.hessian_product(full)),
        (shorter.curvature_gradients(vectors), point.curvature_gradients(full)),
    ):
        torch.testing.assert_close(torch.stack([smaller.directions(v) for v in short.T]).T, long)


@pytest.mark.parametrize("microbatch_size", ["auto", 5])
@pytest.mark.parametrize(
    ("optimizer", "plain"),
    [
        (GradientDescent(0.6), AllWeights(0.6)),
        (ScalarRMSProp(0.15, 0.95), ScalarAllWeights(0.15, 0.95)),
    ],
)
def test_every_process_is_the_one_of_all_weights(optimizer, plain, microbatch_size):
    """In float64; what is compared is all that is recorded, down to single weights and outputs on other examples. Both
    solve for eigenpairs to 1e-8, with errors of the flow of that order."""
    made = objective(microbatch_size=microbatch_size)
    examples = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(2)).double()
    settings = {"examples": examples, "coordinates": 4, "accuracy_every": 5, "warm_start": 6}
    experiment = Experiment(made, optimizer, 12, **settings)
    experiment = replace(experiment, spectrum=experiment.spectrum.model_copy(update={"tolerance": 1e-8}))
    processes = [name for name in PROCESSES if not (name.startswith("stationary") and not optimizer.state_names)]
    found = experiment.run(processes)
    expected = replace(experiment, optimizer=plain).run(processes)
    assert experiment.subspace.objective.p < made.p
    assert float(found["central"].critical_modes.max()) == 2
    for process in processes:
        assert found[process].keys() == expected[process].keys()
        for name in set(found[process]) - {"eigen_residuals", "complementarity_gap", "complementarity_violation"}:
            ours, theirs = found[process][name].values, expected[process][name].values
            if name in ("displacement", "oscillation"):  # the sign of an eigenvector is arbitrary
                ours, theirs = np.abs(ours), np.abs(theirs)
            if name == "displacement":  # and so are the eigenvectors of Sigma that have no variance
                varies = expected[process].variances.values > 1e-6
                ours, theirs = np.where(varies, ours, 0.0), np.where(varies, theirs, 0.0)
            scale = np.nanmax(np.abs(theirs)) if np.isfinite(theirs).any() else 1.0
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 * scale + 1e-12, err_msg=f"{process} {name}")


def test_a_flow_goes_on_from_a_record_to_the_last_bit(whole):
    experiment = Experiment(whole, GradientDescent(0.6), 8, warm_start=6)
    unbroken = list(experiment.flow("central"))
    resumed = list(replace(experiment).flow("central", resume_state=unbroken[3].resume_state))
    assert [record.step for record in resumed] == [4, 5, 6, 7]
    for again, record in zip(resumed, unbroken[4:], strict=True):
        assert np.array_equal(again.weights, record.weights) and again.values["loss"] == record.values["loss"]


def test_slices_are_halved_apart_and_taken_up_apart(whole):
    """Memory runs out in derivatives of higher order first, and the discrete run goes on as it was."""
    unbroken = Experiment(whole, GradientDescent(0.6), 3, warm_start=2)
    unbroken.subspace.objective.halve_microbatches()
    assert unbroken.microbatch_sizes == (12, 6)
    resumed = Experiment(objective(), GradientDescent(0.6), 3, warm_start=2)
    resumed.set_microbatch_size(unbroken.microbatch_sizes)
    assert resumed.microbatch_sizes == (12, 6)
    for (a, _), (b, _) in zip(unbroken.discrete(), resumed.discrete(), strict=True):
        assert np.array_equal(a.weights, b.weights)
    set_microbatch_size = Experiment(objective(), GradientDescent(0.6), 3)
    set_microbatch_size.objective.set_microbatch_size(4)
    assert set_microbatch_size.subspace.objective.microbatch_size == 4
    fixed = Experiment(objective(microbatch_size=5), GradientDescent(0.6), 3)
    fixed.set_microbatch_size((2, 2))
    assert fixed.microbatch_sizes == (5, 5)


def test_the_discrete_run_alone_needs_no_span(whole):
    experiment = Experiment(whole, GradientDescent(0.6), 2)
    assert len(list(experiment.discrete(midpoints=False))) == 2 and "subspace" not in vars(experiment)


def test_examples_that_depend_on_others_add_no_direction():
    """Rounding would choose one, and the coordinates of a stored position would mean something else on another machine."""
    made = objective()
    made.inputs[3] = made.inputs[0]
    made.inputs[5] = 0.0
    made.inputs[7] = 2 * made.inputs[1] - made.inputs[2]
    found = subspace_of(made, GradientDescent(0.1), made.initial_weights)
    assert found.objective.p == 9 * 8 + 8 + 27
    torch.testing.assert_close(found.objective(found.coordinates(made.initial_weights)), made(made.initial_weights))
    _, gradient = value_and_gradient(made, made.initial_weights)
    torch.testing.assert_close(found.directions(found.coordinates(gradient)), gradient)
    made.inputs.zero_()
    assert type(subspace_of(made, GradientDescent(0.1), made.initial_weights)) is Subspace


def test_the_span_is_not_given_up_where_the_loss_is_nearly_zero():
    """In float32, where loss and gradient are differences of much larger numbers."""
    made = objective().to(dtype=torch.float32)
    experiment = Experiment(made, GradientDescent(0.3), 1, warm_start=400)
    assert made(experiment.start.w) < 1e-6
    assert (
        isinstance(experiment.subspace, InputSubspace)
        and experiment.subspace.objective.initial_weights.dtype == torch.float32
    )


class Doubled(nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)


def own(network: nn.Module) -> Objective:
    made = objective()
    return Objective(network.double(), made.inputs, made.targets, made.criterion)


def tied() -> tuple[nn.Module, ...]:
    layer = nn.Linear(48, 48)
    return nn.Flatten(), layer, nn.GELU(), layer, nn.Linear(48, 3)


def hooked() -> tuple[nn.Module, ...]:
    """A layer that adds a function of its own weights to what it returns."""
    layer = nn.Linear(48, 8)
    layer.register_forward_hook(lambda module, inputs, output: output + module.weight.square().sum())
    return nn.Flatten(), layer, nn.GELU(), nn.Linear(8, 3)


def masked() -> tuple[nn.Module, ...]:
    """A layer whose inputs have their own number of entries in a hook."""
    layer, mask = nn.Linear(48, 8), torch.rand(48).double()
    layer.register_forward_pre_hook(lambda module, args: (args[0] * mask,))
    return nn.Flatten(), layer, nn.GELU(), nn.Linear(8, 3)


def bent() -> tuple[nn.Module, ...]:
    """A layer that sees its inputs through a function, which a last layer of zeros hides at first."""
    layer, last = nn.Linear(48, 8), nn.Linear(8, 3)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    layer.register_forward_pre_hook(lambda module, args: (torch.tanh(args[0]),))
    return nn.Flatten(), layer, nn.GELU(), last


class Ridge(Objective):
    def __call__(self, w):
        return super().__call__(w) + 1e-3 * w.square().sum()


def ridge() -> Objective:
    made = objective()
    return Ridge(made.network, made.inputs, made.targets, made.criterion)


def frozen() -> tuple[nn.Module, ...]:
    layers = nn.Flatten(), nn.Linear(48, 8), nn.GELU(), nn.Linear(8, 3)
    layers[1].weight.requires_grad_(False)
    return layers


@pytest.mark.parametrize(
    ("made", "optimizer"),
    [
        (objective(), RMSProp(1e-3, 0.9)),
        (objective(n=25), GradientDescent(0.1)),
        (objective(*tied()), GradientDescent(0.1)),
        (objective(*hooked()), GradientDescent(0.1)),
        (objective(*masked()), GradientDescent(0.1)),
        (objective(*bent()), GradientDescent(0.1)),
        (ridge(), GradientDescent(0.1)),
        (objective(*frozen()), GradientDescent(0.1)),
        (objective(nn.Conv2d(3, 2, 4), nn.Flatten(), nn.Linear(2, 3)), GradientDescent(0.1)),
        (own(Doubled(nn.Flatten(), nn.Linear(48, 3))), GradientDescent(0.1)),
    ],
    ids=[
        "each weight its own step",
        "many examples",
        "tied",
        "hooked",
        "masked",
        "bent",
        "ridge",
        "frozen",
        "convolution",
        "own module",
    ],
)
def test_all_weights_are_followed_where_the_span_would_not_do(made, optimizer):
    assert type(subspace_of(made, optimizer, made.initial_weights)) is Subspace


def test_a_layer_that_sees_several_rows_of_an_example_has_the_span_of_all():
    layers = nn.Linear(48, 8), nn.GELU(), nn.Flatten(), nn.Linear(16, 3)
    made = objective(*layers, n=6, shape=(2, 48))
    found = subspace_of(made, GradientDescent(0.1), made.initial_weights)
    assert found.objective.inputs.shape == (6, 2, 12)
    torch.testing.assert_close(found.objective(found.coordinates(made.initial_weights)), made(made.initial_weights))
