"""Parts that a user brings by a dotted path."""

from __future__ import annotations

import sys

import pytest
import torch

from centralflows import config, optimizers, plugins
from centralflows.optimizers.contract import check

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
def module(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    sys.modules.pop("mine", None)
    return tmp_path / "mine.py"


def load(options):
    run = {"dataset": {"name": "cifar10"}, "model": {"name": "mlp"}, "optimizer": options, "steps": 3}
    return config.load({"profile": "x", "runs": {"a": run}}).runs["a"]


def test_an_optimizer_from_outside_is_built_with_its_options(module):
    run = load({"name": "mine:NormalizedDescent", "lr": 0.1, "memory": 0.8, "schedule": {"name": "warmup", "steps": 4}})
    made = optimizers.build(run.optimizer)
    assert type(made).__name__ == "NormalizedDescent" and made.memory == 0.8
    state = (torch.tensor([2.0], dtype=torch.float64),)
    assert made.preconditioner(torch.tensor(2.0, dtype=torch.float64), state).item() == pytest.approx(2 / 0.05)
    check(made)
    assert config.Run.model_validate(run.model_dump(mode="json")) == run  # as jobs receive it


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
        optimizers.build(load({"name": name, "lr": 0.1, **options}).optimizer)


def test_the_code_counts_and_the_prose_does_not(module):
    before = plugins.sources("mine:NormalizedDescent")
    module.write_text(MODULE.replace("def nothing", "# more words\ndef nothing"))
    assert plugins.sources("mine:NormalizedDescent") == before
    module.write_text(MODULE.replace("1 - self.memory", "2 - self.memory"))
    assert plugins.sources("mine:NormalizedDescent") != before


@pytest.mark.parametrize("name", ["mine", "mine:", ":X", "mine.:X", "mine:X.y", "os.system('x'):y"])
def test_a_name_that_is_no_path_is_refused(name):
    with pytest.raises(config.ConfigError, match=r"runs\.a\.optimizer(\.name)?"):
        load({"name": name, "lr": 0.1})
