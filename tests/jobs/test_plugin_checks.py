"""Networks, datasets and criteria of the user's own: built as configured, and refused with a message where they are wrong."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn

from centralflows.common.errors import UnusableData
from centralflows.config import plugins, profile
from centralflows.flows.device import prepare
from centralflows.flows.make_experiment import make_experiment
from centralflows.jobs.plugin_checks import mistakes
from centralflows.problems import criteria
from centralflows.problems.data.make_dataset import make_dataset
from centralflows.problems.networks.make_network import Unfitting, make_network

MODULE = """
import numpy as np
import torch
from torch import nn
from centralflows import Dataset
from wrong_layer import Cube

ABOUT = dict(description="random points", source="a test", licence="none")
made = []

def points(examples=12, regression=False, masked=0, **changes):
    made.append(examples)
    generator = np.random.default_rng(0)
    x = generator.standard_normal((examples, 3)).astype("float32")
    y = generator.integers(3, size=examples)
    if regression:
        y = x.sum(1, keepdims=True)
    else:
        y[:masked] = -1
    return Dataset(x, y, x[:4], y[-4:], 1 if regression else 3, **ABOUT)._replace(**changes)

def tokens():
    x = np.arange(40).reshape(10, 4) % 5
    return Dataset(x, x % 2, x[:4], x[:4] % 2, 2, **ABOUT, symbols=5)

def wrong(): return points(inputs=np.zeros((12, 3)), source="")
def failing(): raise OSError("disk on fire")

class Net(nn.Module):
    def __init__(self, shape, outputs, width=4, layer="Identity"):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(int(np.prod(shape)), width, dtype=torch.float64), nn.Tanh().double(),
            Cube() if layer == "Cube" else getattr(nn, layer)(),
            nn.Linear(width, outputs, dtype=torch.float64))
    def forward(self, x): return self.layers(x)

def sized(**sizes):
    net = nn.Linear(1, 1)
    net.sizes = sizes
    return net

def text(): return "net"
class Lists(Net):
    def forward(self, x): return [super().forward(x)]
class Mean(Net):
    def forward(self, x): return super().forward(x).mean(0)
class Infinite(Net):
    def forward(self, x): return super().forward(x) / 0

def half_square(outputs, labels, scale=1.0): return 0.5 * scale * (outputs - labels).square().sum(-1).mean()
def number(outputs, labels): return 1.0
def root(outputs, labels): return (outputs - labels).square().mean().sqrt()
def logarithm(outputs, labels): return (outputs.sum() - outputs.sum()).log()

class Masked:
    def __init__(self, scale): self.scale = scale
    def weight(self, labels): return (labels >= 0).sum()
    def __call__(self, outputs, labels):
        kept = labels >= 0
        squares = (outputs - labels[:, None]).square().sum(-1)
        return self.scale * torch.where(kept, squares, 0).sum() / kept.sum().clamp_min(1)

class Weighted(nn.CrossEntropyLoss):
    def __init__(self, weights): super().__init__(torch.tensor(weights))

def masked(outputs, labels, scale): return Masked(scale)(outputs, labels)
masked.weight = Masked(1).weight
"""


@pytest.fixture(autouse=True)
def module(mine):
    mine.write_text(MODULE)


def runs(**each):
    """Validated runs, of points and a network of the user's own unless they say otherwise."""
    usual = {"dataset": {"name": "mine:points"}, "model": {"name": "mine:Net"}, "optimizer": {"name": "gd", "lr": 0.1}}
    raw = {name.replace("_", "-"): usual | {"steps": 3} | changes for name, changes in each.items()}
    return profile.load({"profile": "x", "runs": raw}).runs


def run(**changes):
    return runs(a=changes)["a"]


# -- built --------------------------------------------------------------------------------------------------------


def test_a_network_is_made_for_its_dataset_with_the_seed_in_float32():
    settings = run(model={"name": "mine:Net", "width": 6})
    dataset = make_dataset(settings.dataset)
    before = torch.random.get_rng_state()
    first, again, other = (make_network(settings.model, dataset, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert [p.shape for p in first.parameters()] == [(6, 3), (6,), (3, 6), (3,)]
    assert all(p.dtype == torch.float32 for p in first.parameters())
    weights = [nn.utils.parameters_to_vector(net.parameters()) for net in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_a_network_is_told_what_the_examples_are_and_options_go_before():
    own = run(model={"name": "mine:sized", "outputs": 7, "extra": [1]}).model
    points, tokens = (make_dataset(run(dataset={"name": f"mine:{name}"}).dataset) for name in ("points", "tokens"))
    assert make_network(own, points, seed=0).sizes == {"shape": (3,), "outputs": 7, "extra": [1]}
    assert make_network(own, tokens, seed=0).sizes == {"symbols": 5, "length": 4, "outputs": 7, "extra": [1]}


def test_networks_of_the_package_learn_datasets_of_ones_own():
    tokens, points = {"name": "mine:tokens"}, {"name": "mine:points"}
    transformer = {"name": "transformer", "layers": 1, "width": 8, "heads": 2}
    assert (
        mistakes(runs(a={"dataset": tokens, "model": transformer}, b={"dataset": points, "model": {"name": "mlp"}}))
        == []
    )
    with pytest.raises(Unfitting, match=r"'mlp' takes images or points, and the dataset \(random points\) has tokens"):
        make_experiment(run(dataset=tokens, model={"name": "mlp"}), make_dataset(run(dataset=tokens).dataset))


@pytest.mark.parametrize("name", ["mine:masked", "mine:Masked"])
@pytest.mark.parametrize("microbatch_size", ["auto", 5])
def test_a_criterion_keeps_its_options_and_its_weight(name, microbatch_size):
    """Of 12 labels 7 are masked, so microbatches of 5 weigh 0, 3 and 2 of 5."""
    settings = run(
        dataset={"name": "mine:points", "masked": 7},
        criterion={"name": name, "scale": 3},
        microbatch_size=microbatch_size,
    )
    dataset = make_dataset(settings.dataset)
    made = make_experiment(settings, dataset).objective
    outputs = made.outputs(made.initial_weights)
    expected = 3 * (outputs - made.targets[:, None]).square().sum(-1)[7:].mean()
    torch.testing.assert_close(made(made.initial_weights), expected, rtol=1e-6, atol=0)  # sums of 15 terms in float32
    assert len(made.parts) == (1 if microbatch_size == "auto" else 2)
    assert mistakes({"a": settings}) == []


def test_losses_of_torch_are_criteria_and_may_be_sliced():
    settings = run(criterion="torch.nn:CrossEntropyLoss", microbatch_size=5)
    assert mistakes({"a": settings}) == []
    made = make_experiment(settings, make_dataset(settings.dataset)).objective
    whole = make_experiment(run(criterion="cross-entropy"), make_dataset(settings.dataset)).objective
    torch.testing.assert_close(made(made.initial_weights), whole(made.initial_weights), rtol=1e-6, atol=0)
    assert criteria.make_criterion("mse") is criteria.mean_squared_error


def test_tensors_of_a_criterion_move_with_the_objective():
    settings = run(criterion={"name": "mine:Weighted", "weights": [1.0, 2.0, 0.5]}, dtype="float64")
    assert mistakes({"a": settings}) == []
    made = make_experiment(settings, make_dataset(settings.dataset)).objective
    losses = nn.functional.cross_entropy(made.outputs(made.initial_weights), made.targets, reduction="none")
    weights = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)[made.targets]
    expected = (weights * losses).sum() / weights.sum()
    torch.testing.assert_close(made(made.initial_weights), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_regression_runs(dtype):
    dataset = {"name": "mine:points", "regression": True}
    settings = run(dataset=dataset, criterion={"name": "mine:half_square", "scale": 2}, dtype=dtype, accuracy_every=1)
    assert mistakes({"a": settings}) == []
    found = make_experiment(settings, make_dataset(settings.dataset), prepare("cpu", 1)).run()
    assert all(np.isfinite(trajectory.loss).all() for trajectory in found.values())
    assert found["central"].outputs.shape == (3, 3, 1) and "accuracy" not in found["central"]


# -- refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, expected",
    [
        # found, imported, called
        ({"model": {"name": "absent:Net"}}, "model: absent:Net: there is no file of a module 'absent'"),
        ({"model": {"name": "mine:Nett"}}, "model: mine:Nett: module 'mine' has no 'Nett'"),
        ({"model": {"name": "mine:Net", "widht": 3}},
         r"model: mine:Net: TypeError: .*unexpected keyword argument 'widht' \(called with shape, outputs, widht\)"),
        ({"dataset": {"name": "mine:points", "examples": "many"}}, "dataset: mine:points: TypeError: "),
        ({"dataset": {"name": "mine:failing"}}, r"dataset: mine:failing: OSError: disk on fire \(called with no options\)"),
        ({"criterion": "mine:loss"}, "criterion: mine:loss: module 'mine' has no 'loss'"),
        ({"criterion": {"name": "mine:Masked"}}, "criterion: mine:Masked: TypeError: .*missing .*'scale'"),
        ({"criterion": {"name": "mine:masked"}}, "criterion: TypeError: .*missing .*'scale'"),
        ({"criterion": "mine:ABOUT"}, "criterion: TypeError: .*"),
        # what they return
        ({"dataset": {"name": "mine:ABOUT"}}, "dataset: mine:ABOUT: TypeError: 'dict' object is not callable"),
        ({"dataset": {"name": "mine:text"}},
         r"dataset: mine:text returns a dataset that cannot be used\n    must return a centralflows.Dataset \(got str\)"),
        ({"dataset": {"name": "mine:wrong"}}, r"dataset: mine:wrong returns .*\n    source: .*\n    inputs: must be float32"),
        ({"model": {"name": "mine:text"}}, "model: mine:text: must make a torch.nn.Module, not str"),
        ({"model": {"name": "mine:Lists"}}, r"model: must return one tensor \(returns list\)"),
        ({"model": {"name": "mine:Mean"}}, r"model: must return outputs of each example \(returns shape \[3\] for 8\)"),
        ({"model": {"name": "mine:Infinite"}}, "model: its outputs at the initial weights are not finite"),
        ({"model": {"name": "mine:Net", "outputs": 4}},
         r"model: must return 3 output units, one for each class \(returns shape \[8, 4\]\)"),
        ({"criterion": "mine:number"}, r"criterion: must return a scalar tensor \(returns float\)"),
        ({"criterion": "mine:logarithm"}, r"criterion: the loss at the initial weights is not finite \(-inf\)"),
        # together
        ({"dataset": {"name": "mine:points", "regression": True}}, "criterion: mse and cross-entropy compare with class "),
        ({"model": {"name": "cnn"}}, r"model: model 'cnn' takes images, and the dataset \(random points\) has points"),
        ({"model": {"name": "mine:Net", "layer": "Cube"}}, "model: derivatives of this network are wrong .*Cube"),
        ({"model": {"name": "mine:Net", "layer": "Dropout"}}, "model: two evaluations of the loss .*call its eval"),
        ({"criterion": "mine:root", "dataset": {"name": "mine:points", "regression": True}, "microbatch_size": 4},
         "model: the loss is .* in microbatches of 4 and .*must average over them"),
        ({"outputs": 5}, r"outputs: must be at most the test examples \(4\) \(got 5\)"),
        ({"optimizer": {"name": "mine:Net", "lr": 0.1}}, "optimizer: mine:Net: TypeError: "),
    ],
)  # fmt: skip
def test_each_mistake_is_one_line_with_its_key(changes, expected):
    (line,) = mistakes({"a": run(**changes)})
    assert torch.get_num_threads() == 1  # as the tests have it
    assert re.match(rf"runs\.a\.{expected}", line, flags=re.S), line


def test_all_mistakes_of_all_runs_come_at_once_and_a_shared_one_once():
    bad = {"model": {"name": "mine:Nett"}, "criterion": "mine:loss"}
    found = mistakes(
        runs(a=bad, b=bad, c=bad | {"dataset": {"name": "mine:failing"}}, d={}, e={"model": {"name": "mlp"}})
    )
    assert [line.partition(": ")[0] for line in found] == [
        "runs.a.criterion (and of 2 more)", "runs.a.model (and of 1 more)", "runs.c.dataset"
    ]  # fmt: skip


def test_a_dataset_is_made_once_for_all_runs_that_share_it():
    assert mistakes(runs(a={}, b={}, c={"dataset": {"name": "mine:points", "examples": 14}})) == []
    assert plugins.resolve("mine:made") == [12, 14]


@pytest.mark.parametrize(
    "dataset, units",
    [({"name": "cifar10", "classes": 10, "pool": 4}, 10), ({"name": "cifar10", "examples": 2000, "pool": 4}, 4),
     ({"name": "cifar10", "classes": 2, "examples": 2000, "binary": True, "pool": 4}, 1)]
)  # fmt: skip
def test_images_that_are_not_here_yet_are_stood_in_for(dataset, units):
    assert mistakes(runs(a={"dataset": dataset})) == []
    wrong = {"name": "mine:Net", "outputs": units + 1}
    (line,) = mistakes(runs(a={"dataset": dataset, "model": wrong}))
    assert f"must return {units} output units" in line


def test_runs_without_plugins_are_not_built():
    assert mistakes(runs(a={"dataset": {"name": "sst2", "path": "nowhere"}, "model": {"name": "lstm"}})) == []


def test_a_dataset_whose_contract_is_broken_is_refused_by_its_job_too():
    with pytest.raises(UnusableData, match="mine:wrong returns a dataset that cannot be used\n  source: "):
        make_dataset(run(dataset={"name": "mine:wrong"}).dataset)
