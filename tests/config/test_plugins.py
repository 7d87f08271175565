"""Parts that a user brings by a dotted path."""

from __future__ import annotations

from importlib import metadata

import pytest
import torch

from centralflows.config import plugins, profile
from centralflows.config.run import RunConfig
from centralflows.optimizers.make_optimizer import make_optimizer
from centralflows.optimizers.optimizer_contract import check

MODULE = '''
"""A comment that does not count."""
from dataclasses import dataclass
import torch
from centralflows import Optimizer

@dataclass(frozen=True)
class NormalizedDescent(Optimizer):
    lr: object
    memory: float = 0.9
    state_names = ("size",)
    def initial_state(self, w):
        return (torch.zeros(1, dtype=w.dtype, device=w.device),)
    def update(self, step, state, gradient):
        return (self.memory * state[0] + (1 - self.memory) * gradient.norm().reshape(1),)
    def drift(self, step, state, gradient):
        return ((1 - self.memory) / self.memory * (gradient.norm().reshape(1) - state[0]),)
    def preconditioner(self, step, state):
        return state[0] / (self.lr(step) if callable(self.lr) else self.lr)

def nothing():
    return 3
'''


@pytest.fixture
def module(mine):
    mine.write_text(MODULE)
    return mine


def load(options):
    run = {"dataset": {"name": "cifar10"}, "model": {"name": "mlp"}, "optimizer": options, "steps": 3}
    return profile.load({"profile": "x", "runs": {"a": run}}).runs["a"]


def test_an_optimizer_from_outside_is_built_with_its_options(module):
    run = load({"name": "mine:NormalizedDescent", "lr": 0.1, "memory": 0.8, "schedule": {"name": "warmup", "steps": 4}})
    made = make_optimizer(run.optimizer)
    assert type(made).__name__ == "NormalizedDescent" and made.memory == 0.8
    state = (torch.tensor([2.0], dtype=torch.float64),)
    assert made.preconditioner(torch.tensor(2.0, dtype=torch.float64), state).item() == pytest.approx(2 / 0.05)
    check(made)
    assert RunConfig.model_validate(run.model_dump(mode="json")) == run  # as jobs receive it


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mine:Missing", {}, "module 'mine' has no 'Missing'"),
        ("absent_module:X", {}, "cannot import 'absent_module'"),
        ("mine:NormalizedDescent", {"momentum": 1}, "unexpected keyword argument 'momentum'"),
        ("mine:nothing", {}, "nothing.* takes 0 positional arguments"),
    ],
)
def test_what_cannot_be_made_is_named(module, name, options, message):
    with pytest.raises(plugins.PluginError, match=message):
        make_optimizer(load({"name": name, "lr": 0.1, **options}).optimizer)


def test_the_code_counts_and_the_prose_does_not(module):
    before = plugins.sources("mine:NormalizedDescent")
    module.write_text(MODULE.replace("def nothing", "# more words\ndef nothing"))
    assert plugins.sources("mine:NormalizedDescent") == before
    module.write_text(MODULE.replace("does not count", "counts as little"))
    assert plugins.sources("mine:NormalizedDescent") == before
    module.write_text(MODULE.replace("1 - self.memory", "2 - self.memory"))
    assert plugins.sources("mine:NormalizedDescent") != before


@pytest.mark.parametrize("name", ["mine", "mine:", ":X", "mine.:X", "mine:X.y", "os.system('x'):y"])
def test_a_name_that_is_no_path_is_refused(name):
    with pytest.raises(profile.ConfigError, match=r"runs\.a\.optimizer(\.name)?"):
        load({"name": name, "lr": 0.1})


def test_the_code_of_a_package_is_all_of_it_and_that_of_an_installed_one_its_version(module):
    inner = module.parent / "lab" / "nets"
    inner.mkdir(parents=True)  # no __init__.py is needed
    (inner / "small.py").write_text("x = 1")
    assert plugins.sources("lab.nets.small:x") == {"nets/small.py": "x = 1"}
    assert plugins.sources("torch.nn:HuberLoss") == {"torch": metadata.version("torch")}


@pytest.mark.parametrize("path", ["absent_module:X", "sys:path", "mine_broken:X"])
def test_code_that_cannot_be_read_is_named(module, path):
    (module.parent / "mine_broken.py").write_text("x = = 1")
    with pytest.raises(plugins.PluginError, match=r"there is no file of a module|mine_broken.py: invalid syntax"):
        plugins.sources(path)


@pytest.mark.parametrize(
    "code, taken",
    [
        ("def f(shape, width=3): pass", {"shape": 1}),
        ("def f(outputs, **kwargs): pass", {"shape": 1, "outputs": 2}),
        ("class f:\n    def __init__(self, outputs): pass", {"outputs": 2}),
        ("def f(): pass", {}),
        ("f = 3", {"shape": 1, "outputs": 2}),
    ],
)
def test_a_plugin_is_given_what_it_names(module, code, taken):
    module.write_text(code)
    assert plugins.accepted("mine:f", {"shape": 1, "outputs": 2}) == taken
