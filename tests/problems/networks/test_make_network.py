"""What every network keeps: its size, its derivatives to third order, its weights for a seed, its refusals."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from centralflows import Objective
from centralflows.config.networks import AnyNetwork, networks_for
from centralflows.config.run import RunConfig
from centralflows.derivatives.derivative_check import check_derivatives
from centralflows.derivatives.point import Point
from centralflows.figures.run_view import NETWORKS
from centralflows.flows.make_experiment import make_experiment
from centralflows.problems.criteria import cross_entropy
from centralflows.problems.data.dataset import Dataset
from centralflows.problems.networks.activations import ACTIVATIONS
from centralflows.problems.networks.make_network import Unfitting, make_network
from centralflows.problems.networks.mlp import mlp

PARAMETERS = {
    "mlp": 853_508,
    "cnn": 544_100,
    "resnet": 293_300,
    "vit": 661_412,
    "transformer": 68_228,
    "lstm": 38_020,
    "mamba": 65_984,
}
TINY = {
    "mlp": {"width": 6},
    "cnn": {"channels": 2, "dense": 4},
    "resnet": {"blocks": [1, 1], "width": 2},
    "vit": {"width": 8, "layers": 1, "heads": 2, "head_width": 3, "hidden": 6},
    "transformer": {"layers": 1, "width": 8, "heads": 2},
    "lstm": {"layers": 2, "width": 4},
    "mamba": {"layers": 1, "width": 5, "state": 3, "taps": 2},
}
TOKENS = ("transformer", "lstm", "mamba")
WITH_ACTIVATION = sorted(set(TINY) - {"lstm"})


def model(name: str, **options):
    return TypeAdapter(AnyNetwork).validate_python({"name": name, **options})


def dataset(name: str, *, n: int = 5, shape: tuple[int, ...] | None = None, classes: int = 3) -> Dataset:
    """Random examples of the kind that a network takes."""
    generator = np.random.default_rng(0)
    if name in TOKENS:
        shape = shape or (6,)
        inputs, labels = (generator.integers(classes, size=(n, *shape)) for _ in range(2))
        labels[0, 0] = -1
    else:
        inputs = generator.standard_normal((n, *(shape or (2, 8, 8)))).astype("float32")
        labels = generator.integers(max(2, classes), size=n)
    symbols = classes if name in TOKENS else 0
    return Dataset(inputs, labels, inputs, labels, classes, "random examples", "a generator", "none", symbols)


def objective(name: str, *, shape: tuple[int, ...] | None = None, classes: int = 3, **options) -> Objective:
    data = dataset(name, shape=shape, classes=classes)
    network = make_network(model(name, **{**TINY[name], **options}), data, seed=0)
    inputs, labels = torch.from_numpy(data.inputs), torch.from_numpy(data.labels)
    return Objective(network, inputs, labels, cross_entropy).to(dtype=torch.float64)


def away(w: torch.Tensor) -> torch.Tensor:
    """A little away from weights that start at zero and hide whole parts of a network."""
    return w + 0.1 * torch.randn(w.shape, generator=torch.Generator().manual_seed(1), dtype=w.dtype)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_default_has_the_parameters_that_it_should(name):
    data = dataset(name, n=1, shape=(15,) if name in TOKENS else (3, 32, 32), classes=4)
    data = data._replace(inputs=data.inputs % 4) if name in TOKENS else data
    assert sum(p.numel() for p in make_network(model(name), data, seed=0).parameters()) == PARAMETERS[name]


def test_every_network_of_the_configuration_can_be_built():
    assert set(NETWORKS) == {name for kind in ("images", "points", "tokens") for name in networks_for(kind)}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_probe_accepts_it(name):
    made = objective(name)
    check_derivatives(made, made.initial_weights)


@pytest.mark.parametrize("name", NETWORKS)
def test_third_derivatives_are_differences_of_hessian_products(name):
    made = objective(name)
    w = away(made.initial_weights)
    u = torch.randn(made.p, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    u = u / u.norm(dim=0)
    point = Point(made, w)
    found = point.curvature_gradients(u, point.product_graphs(u))

    def along(i: int, j: int) -> torch.Tensor:
        """d/dt H(w + t u_i) u_j by the five-point rule."""
        step, total = 5e-3, 0
        for offset, coefficient in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
            product = Point(made, w + step * offset * u[:, i]).hessian_product(u[:, j : j + 1])[:, 0]
            total = total + coefficient / (12 * step) * product
        return total

    expected = torch.stack([along(0, 0), 2**0.5 * along(0, 1), along(1, 1)]).T
    # The rule errs by step^4 / 30 = 2e-11 times a seventh derivative, and by rounding, 1e-16 / step: both far below.
    assert (found - expected).norm() < 1e-6 * expected.norm()
    assert expected.norm() > 0


@pytest.mark.parametrize("activation", sorted(set(ACTIVATIONS) - {"relu"}))
@pytest.mark.parametrize("name", WITH_ACTIVATION)
def test_every_smooth_activation_passes_the_probe(name, activation):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = objective(name, activation=activation)
    check_derivatives(made, made.initial_weights)


@pytest.mark.parametrize("name", WITH_ACTIVATION)
def test_relu_is_warned_of_and_can_be_run(name):
    made = objective(name, activation="relu")
    with pytest.warns(UserWarning, match="not smooth: it applies relu in ReLU") as warned:
        check_derivatives(made, made.initial_weights)
    assert len(warned) == 1
    smooth = objective(name, activation="gelu")
    w = away(made.initial_weights)
    assert not torch.equal(made(w), smooth(w))  # the derivative check has not changed the network


def test_an_unknown_activation_is_named():
    with pytest.raises(ValueError, match="no activation is called 'sine'; there are gelu"):
        mlp((2,), 1, activation="sine")


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_depend_on_the_seed_alone(name):
    data, settings = dataset(name), model(name, **TINY[name])
    before = torch.random.get_rng_state()
    first = make_network(settings, data, seed=1).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.randn(3)
    again, other = (make_network(settings, data, seed=seed).state_dict() for seed in (1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 16), (1, 28, 28), (2, 12, 8)])
@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet", "vit"])
def test_images_may_have_other_sizes(name, shape):
    made = objective(name, shape=shape, classes=1)
    assert made.outputs(made.initial_weights).shape == (5, 1)
    assert torch.isfinite(made(away(made.initial_weights)))


def test_the_mlp_takes_points():
    made = objective("mlp", shape=(2,), classes=1)
    assert made.p == (2 * 6 + 6) + (6 * 6 + 6) + (6 + 1)
    check_derivatives(made, made.initial_weights)


@pytest.mark.parametrize("name", TOKENS)
def test_sequences_may_have_any_length_and_alphabet(name):
    for length, symbols in ((1, 2), (9, 7)):
        made = objective(name, shape=(length,), classes=symbols)
        assert made.outputs(made.initial_weights).shape == (5, length, symbols)


def test_an_alphabet_may_be_larger_than_the_outputs():
    data = dataset("lstm", classes=7)._replace(classes=2)
    network = make_network(model("lstm", **TINY["lstm"]), data, seed=0)
    assert network.embedding.num_embeddings == 7 and network.head.out_features == 2


@pytest.mark.parametrize("name", TOKENS)
def test_sequences_are_read_from_the_left(name):
    made = objective(name)
    w, tokens = away(made.initial_weights), made.inputs.clone()
    tokens[:, -1] = (tokens[:, -1] + 1) % 3
    before, after = made.outputs(w), made.outputs(w, tokens)
    same = name != "transformer"  # which also attends to the whole of its input
    assert torch.equal(before[:, :-1], after[:, :-1]) == same
    assert not torch.allclose(before[:, -1], after[:, -1])


@pytest.mark.parametrize(
    "name, shape, message",
    [
        ("cnn", (1, 3, 8), "images must be at least 4x4"),
        ("resnet", (1, 1, 1), "images must be at least 2x2"),
        ("vit", (1, 10, 8), "patches of 4x4 pixels do not tile images of 10x8"),
    ],
)
def test_images_of_a_size_that_does_not_fit_are_refused(name, shape, message):
    with pytest.raises(Unfitting, match=f"model {name!r} does not fit .*random examples.*{message}"):
        objective(name, shape=shape)


@pytest.mark.parametrize("name", ["resnet", "vit", "transformer"])
def test_outputs_start_at_zero(name):
    made = objective(name)
    assert made.outputs(made.initial_weights).abs().max() == 0


@pytest.mark.parametrize("name", NETWORKS)
def test_it_runs_from_a_configuration(name):
    run = TypeAdapter(RunConfig).validate_python(
        {
            "dataset": {"name": "sorting" if name in TOKENS else "cifar10"},
            "model": {"name": name, **TINY[name]},
            "optimizer": {"name": "gd", "lr": 0.05},
            "criterion": "cross-entropy",
            "steps": 3,
            "microbatch_size": 2,
        }
    )
    experiment = make_experiment(run, dataset(name))
    assert len(experiment.objective.parts) == 3
    found = experiment.run()
    assert all(np.isfinite(found[process].loss).all() for process in found)
    np.testing.assert_allclose(found["central"].loss[0], found["discrete"].loss[0], rtol=1e-6)
