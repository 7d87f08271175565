"""Shared fixtures: one thread, so that results do not depend on the machine's cores."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import survival_table
import torch
from calls import snakemake
from torch import nn

from centralflows import Objective


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


SURVIVED = pytest.StashKey[Counter]()


def pytest_addoption(parser):
    text = "run the tests that count what is survived, and write the table of it in README.md"
    parser.addoption("--survival-table", action="store_true", help=text)


def pytest_configure(config):
    config.stash[SURVIVED] = Counter()


@pytest.fixture
def survived(pytestconfig) -> Callable[[str], None]:
    """Counts one more of a kind in `survival_table.KINDS`, to be called when nothing was lost."""

    def count(kind: str) -> None:
        assert kind in survival_table.KINDS
        pytestconfig.stash[SURVIVED][kind] += 1

    return count


def pytest_sessionfinish(session, exitstatus):
    if session.config.option.survival_table and exitstatus == pytest.ExitCode.OK:
        survival_table.write(session.config.stash[SURVIVED])


def pytest_collection_modifyitems(config, items):
    if config.option.survival_table:
        items[:] = [item for item in items if "survived" in item.fixturenames]
    if os.environ.get("CENTRALFLOWS_NETWORK") != "1":
        skip = pytest.mark.skip(reason="needs the network; set CENTRALFLOWS_NETWORK=1")
        for item in items:
            if "network" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """A folder with all that the smoke profile makes; tests that change something take a copy."""
    folder = tmp_path_factory.mktemp("built")
    done = snakemake(folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def mine(tmp_path, monkeypatch) -> Iterator[Path]:
    """Where a module `mine` is to be written, to be found as a user's own is: in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    sys.modules.pop("mine", None)
    yield tmp_path / "mine.py"
    sys.modules.pop("mine", None)


@pytest.fixture
def tiny() -> Objective:
    """A float64 network of 31 weights with GELU: small enough for dense derivatives."""
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 3)).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    inputs = torch.randn(10, 3, generator=generator, dtype=torch.float64)
    targets = torch.randn(10, 3, generator=generator, dtype=torch.float64)
    return Objective(network, inputs, targets, lambda f, y: 0.5 * (f - y).square().sum(-1).mean())
