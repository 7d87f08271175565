"""Sizes counted from settings are those of the networks themselves."""

from __future__ import annotations

import pytest
import torch
from pydantic import TypeAdapter
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from centralflows.config.datasets import AnyDataset
from centralflows.config.run import RunConfig
from centralflows.jobs.problem_size import UNKNOWN, size
from centralflows.problems.data.make_dataset import make_dataset
from centralflows.problems.networks.lstm import Lstm
from centralflows.problems.networks.make_network import make_network

IMAGES = {"name": "cifar10", "classes": 3, "examples": 6, "test_examples": 3, "pool": 2}
TOKENS = {"name": "sorting", "examples": 6, "test_examples": 3, "symbols": 5, "length": 4}
CASES = [
    (IMAGES, {"name": "mlp", "width": 7, "depth": 3}),
    ({"name": "digits", "examples": 10, "test_examples": 10}, {"name": "mlp", "width": 5}),
    ({"name": "moons", "examples": 6, "test_examples": 2, "binary": True}, {"name": "mlp", "width": 5, "depth": 1}),
    ({"name": "classification", "examples": 6, "test_examples": 2}, {"name": "mlp", "width": 4}),
    (IMAGES, {"name": "cnn", "channels": 3, "dense": 7}),
    (IMAGES, {"name": "resnet", "blocks": [2, 1, 2], "width": 2}),
    (IMAGES, {"name": "vit", "width": 8, "layers": 2, "heads": 3, "head_width": 5, "hidden": 11}),
    (TOKENS, {"name": "transformer", "layers": 2, "width": 8, "heads": 2}),
    ({**TOKENS, "name": "copying"}, {"name": "lstm", "layers": 3, "width": 5}),
    (TOKENS, {"name": "mamba", "layers": 2, "width": 20, "state": 3, "expansion": 3, "taps": 2}),
]


def run_of(dataset: dict, model: dict, **more) -> RunConfig:
    return RunConfig.model_validate(
        {"dataset": dataset, "model": model, "optimizer": {"name": "gd", "lr": 0.1}, "steps": 1, "outputs": 0} | more
    )


@pytest.mark.parametrize(("dataset", "model"), CASES, ids=lambda part: part["name"])
def test_weights_and_products_are_those_of_the_network(dataset, model):
    run = run_of(dataset, model)
    made = make_dataset(run.dataset)
    network = make_network(run.model, made, seed=0)
    counted = size(run)
    assert (counted.p, counted.n) == (sum(w.numel() for w in network.parameters()), len(made.inputs))
    # The fused attention kernels of a CPU are not counted.
    with FlopCounterMode(display=False) as flops, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        network(torch.from_numpy(made.inputs[:1]))
    # A product and a sum each are two operations.
    assert flops.get_total_flops() == 2 * counted.products > 0


def test_sentences_are_counted_without_their_files():
    dataset, model = TypeAdapter(AnyDataset), {"name": "lstm", "width": 4}
    sentences = {"name": "sst2", "length": 10, "examples": 4, "test_examples": 2, "binary": True}
    assert dataset.validate_python(sentences).kind == "tokens"
    network = Lstm(symbols=257, length=10, outputs=1, width=4)
    assert size(run_of(sentences, model)).p == sum(w.numel() for w in network.parameters())


def test_products_of_a_linear_network_are_its_weights_without_biases():
    network = {"name": "mlp", "width": 5, "depth": 1}
    assert size(run_of({"name": "moons", "examples": 6, "test_examples": 2}, network)).products == 2 * 5 + 5 * 2


def test_what_is_held_at_once_is_a_microbatch():
    assert size(run_of(IMAGES, {"name": "cnn"}, microbatch_size=4)).microbatch == 4
    assert size(run_of(IMAGES, {"name": "cnn"}, microbatch_size=100)).microbatch == 6


def test_nothing_is_allocated_for_a_network_of_any_size():
    huge = {"name": "mlp", "width": 10**6}  # a million million weights
    assert size(run_of(IMAGES, huge)).p > 10**12


def test_plugins_are_assumed_to_be_large():
    assert size(run_of(IMAGES, {"name": "mine:Net"})) == UNKNOWN._replace(n=6, microbatch=6)
    assert size(run_of({"name": "mine:waves", "examples": "few"}, {"name": "mine:Net"})) == UNKNOWN
