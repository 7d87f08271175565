"""What every configured dataset is, whichever it is."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from centralflows.common.references import load as load_reference
from centralflows.config.datasets import AnyDataset, DatasetPluginConfig
from centralflows.config.messages import models_in
from centralflows.config.networks import AnyNetwork, TransformerConfig, networks_for
from centralflows.problems.criteria import mean_squared_error
from centralflows.problems.data import sst2
from centralflows.problems.data.dataset import MASKED, load, save
from centralflows.problems.data.make_dataset import make_dataset
from centralflows.problems.networks.make_network import make_network

DATASETS = [model for model in models_in(AnyDataset) if model is not DatasetPluginConfig]
NAMES = [get_args(model.model_fields["name"].annotation)[0] for model in DATASETS]
BINARY = [model for model in DATASETS if "binary" in model.model_fields]
TWO_CLASSES = {"cifar10": {"classes": 2}, "digits": {"classes": 2}}


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sst2")
    for name in sst2.NAMES.values():
        rows = [f"{'good' if i % 2 else 'bad'} film {i}\t{i % 2}" for i in range(20)]
        (folder / name).write_text("\n".join(["sentence\tlabel", *rows]))
    return str(folder)


def configured(name, sentences, **options):
    options = {"path": sentences} | options if name == "sst2" else options
    raw = {"name": name, "examples": 20, "test_examples": 20} | options
    return TypeAdapter(AnyDataset).validate_python(raw)


def test_each_name_has_one_builder():
    assert len({load_reference(model.implementation) for model in DATASETS}) == len(NAMES) == len(set(NAMES))


@pytest.mark.parametrize("name", NAMES)
def test_datasets_are_what_their_kind_says(name, sentences):
    options = configured(name, sentences)
    built = make_dataset(options)
    assert built.inputs.shape[0] == built.labels.shape[0] == 20
    assert built.test_inputs.shape[1:] == built.inputs.shape[1:] and built.labels.dtype == np.int64
    if options.kind == "tokens":
        assert built.inputs.dtype == np.int64 and built.labels.shape == built.inputs.shape
        assert built.inputs.min() >= 0 and built.inputs.max() < built.symbols
        assert (built.labels != MASKED).any(axis=1).all()
    else:
        assert built.inputs.dtype == np.float32 and built.labels.shape == (20,)
        assert built.inputs.ndim == {"images": 4, "points": 2}[options.kind]
        assert np.isfinite(built.inputs).all() and np.isfinite(built.test_inputs).all()
    known = built.labels[built.labels != MASKED]
    assert known.min() >= 0 and known.max() < built.classes
    assert all("\n" not in text and text for text in (built.description, built.source, built.licence))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_options_give_the_same_bytes(name, sentences, tmp_path):
    options = configured(name, sentences)
    first, again = make_dataset(options), make_dataset(options)
    for file, built in (("a.npz", first), ("b.npz", again)):
        save(tmp_path / file, built)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    read = load(tmp_path / "a.npz")
    assert all(np.array_equal(a, b) for a, b in zip(read[:4], first[:4], strict=True)) and read[4:] == first[4:]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "sst2"])  # people say some things twice
def test_no_test_example_is_a_training_example(name, sentences):
    built = make_dataset(configured(name, sentences))
    rows = np.concatenate([built.inputs, built.test_inputs]).reshape(40, -1)
    assert len(np.unique(rows, axis=0)) == 40


@pytest.mark.parametrize("name", [get_args(model.model_fields["name"].annotation)[0] for model in BINARY])
def test_two_classes_are_learnt_by_one_unit(name, sentences):
    built = make_dataset(configured(name, sentences, binary=True, **TWO_CLASSES.get(name, {})))
    two = make_dataset(configured(name, sentences, **TWO_CLASSES.get(name, {})))
    assert (built.classes, two.classes) == (1, 2)
    assert all(np.array_equal(a, b) for a, b in zip(built[:4], two[:4], strict=True))
    assert set(built.labels[built.labels != MASKED]) == {0, 1}


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(
    "name, model, options",
    [
        ("cifar10", "mlp", {"classes": 2, "pool": 4}),
        ("cifar10", "cnn", {"classes": 2, "pool": 4}),
        ("cifar10", "cnn", {"classes": 2, "pool": 2}),
        ("digits", "cnn", {"classes": 2}),
        ("digits", "mlp", {"classes": 2}),
        ("moons", "mlp", {}),
        ("circles", "mlp", {}),
        ("classification", "mlp", {}),
        ("sst2", "transformer", {"length": 12}),
    ],
)
def test_networks_accept_what_fits_them(name, model, options, binary, sentences):
    options = configured(name, sentences, binary=binary, **options)
    built = make_dataset(options)
    assert model in networks_for(options.kind)
    network = make_network(TypeAdapter(AnyNetwork).validate_python({"name": model}), built, seed=0)
    outputs = network(torch.from_numpy(built.inputs))
    assert outputs.shape == (*built.labels.shape, built.classes)
    loss = mean_squared_error(outputs, torch.from_numpy(built.labels))
    known = built.labels != MASKED
    chosen = outputs.detach().numpy()[known]
    targets = 2 * built.labels[known][:, None] - 1 if binary else np.eye(2)[built.labels[known]]
    expected = 0.5 * np.square(chosen.astype(np.float64) - targets).sum(axis=-1).mean()
    # float32 sums of at most 40 terms: relative error at most 40 * 2^-24
    assert loss.item() == pytest.approx(expected, rel=3e-6)


@pytest.mark.parametrize("name", ["sorting", "copying"])
def test_the_transformer_predicts_symbols(name, sentences):
    built = make_dataset(configured(name, sentences))
    network = make_network(TransformerConfig(name="transformer"), built, seed=0)
    assert network(torch.from_numpy(built.inputs)).shape == (20, 15, 4)


def test_datasets_need_neither_torch_nor_scikit_learn_to_be_imported():
    code = (
        "import sys, centralflows.problems.data.make_dataset; sys.exit(bool({'torch', 'sklearn'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
