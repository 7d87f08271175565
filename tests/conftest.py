"""Shared fixtures: one thread, so that results do not depend on the machine's cores."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from calls import snakemake
from torch import nn

from centralflows import Objective


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
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
