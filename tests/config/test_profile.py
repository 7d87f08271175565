"""The configuration: what is accepted, and that every mistake is named with its key and its cure.

Long, as it has each mistake once, with the sentence that a user reads.
"""

from __future__ import annotations

import copy
import json
import math
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from centralflows.config import manual, profile
from centralflows.config.catalogue import CATALOGUE
from centralflows.config.datasets import SortingConfig
from centralflows.config.messages import ConfigError
from centralflows.config.profile import ProfileConfig, load
from centralflows.config.run import TrajectoryConfig

ROOT = Path(__file__).parents[2]
VALID = {
    "profile": "test",
    "defaults": {"optimizer": {"name": "gd", "lr": 0.1}, "steps": 40, "spectrum": {"minimum": 2}},
    "runs": {
        "mlp": {"dataset": {"name": "cifar10", "examples": 40}, "model": {"name": "mlp", "width": 8}},
        "sort": {"dataset": {"name": "sorting", "examples": 24}, "model": {"name": "transformer", "width": 8}},
    },
    "figures": {"gd-eos": {"run": "mlp"}, "other": {"draw": "gd-central-flow", "run": "sort", "start": 5}},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The valid configuration with one key set (`...` removes it)."""
    raw = copy.deepcopy(VALID)
    *parents, last = path.split("/")
    node: Any = raw
    for key in parents:
        node = node.setdefault(key, {})
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return raw


def mistakes(raw: Any) -> list[str]:
    """The lines between the head and the foot of the message."""
    with pytest.raises(ConfigError) as error:
        load(raw)
    head, *lines, foot = str(error.value).splitlines()
    assert head == f"ConfigError: the configuration has {len(lines)} error{'s' if len(lines) > 1 else ''}"
    assert foot == "Every key is described in config/README.md."
    return [line.removeprefix("  ") for line in lines]


def test_the_covariance_figure_needs_the_weights_of_every_step():
    raw = changed("runs/mlp/weights_stride", 5) | {"figures": {"gd-predict-sigma": {"run": "mlp"}}}
    (line,) = mistakes(raw)
    assert line.startswith(
        "figures.gd-predict-sigma.run: needs the displacement at every step; set runs.mlp.weights_stride to 1"
    )


def test_modes_that_take_part_are_tracked():
    assert mistakes(changed("runs/mlp/central", {"critical_threshold": 1.6})) == [
        "runs.mlp.central: critical_threshold must be 0.15 above spectrum.threshold (1.5) (got 1.6)"
    ]
    lower = changed("runs/mlp/central", {"critical_threshold": 1.6})
    lower["runs"]["mlp"]["spectrum"] = {"threshold": 1.0}
    assert load(lower).runs["mlp"].central.critical_threshold == 1.6
    without = changed("runs/mlp/spectrum", {"threshold": 2.0})
    without["runs"]["mlp"]["processes"] = ["discrete", "stable"]
    assert load(without).runs["mlp"].spectrum.threshold == 2.0


def test_stationary_states_track_all_that_they_rest_on():
    raw = changed("runs/mlp/optimizer", {"name": "rmsprop", "lr": 1e-4, "beta2": 0.9})
    raw["runs"]["mlp"] |= {"processes": ["discrete", "stationary"], "spectrum": {"threshold": 1.9}}
    assert mistakes(raw) == [
        "runs.mlp.spectrum: threshold must be at most 1.5 for stationary states (got 1.9)",
    ]


def test_a_valid_configuration_is_read():
    loaded = load(VALID)
    run = loaded.runs["mlp"]
    assert (run.optimizer.lr, run.steps, run.model.width, run.model.depth) == (0.1, 40, 8, 2)
    assert run.processes == ("discrete", "stable", "central")
    assert loaded.figures["other"].draw == "gd-central-flow"


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_profiles_are_valid(file):
    assert load(file).runs
    jsonschema.validate(yaml.safe_load(file.read_text()), json.loads(manual.schema()))


def test_loading_leaves_its_input_as_it_was():
    raw = copy.deepcopy(VALID)
    load(raw)
    assert raw == VALID


def test_what_a_job_is_given_reads_back_the_same():
    run = load(VALID).runs["sort"]
    given_to_job = {"run": run.model_dump(mode="json"), "threads": 1}
    assert TrajectoryConfig.model_validate(json.loads(json.dumps(given_to_job))).run == run


# -- defaults -----------------------------------------------------------------------------------------------------


def test_defaults_stand_under_every_run():
    runs = load(changed("runs/mlp/spectrum", {"maximum": 5})).runs
    assert (runs["mlp"].spectrum.minimum, runs["mlp"].spectrum.maximum) == (2, 5)  # merged key by key
    assert (runs["sort"].spectrum.minimum, runs["sort"].spectrum.maximum) == (2, 16)


def test_another_name_replaces_the_defaults_instead_of_merging():
    raw = changed("defaults/model", {"name": "mlp", "depth": 5})
    runs = load(raw).runs
    assert runs["mlp"].model.depth == 5
    assert not hasattr(runs["sort"].model, "depth")


def test_a_mistake_in_the_defaults_is_said_once_and_there():
    assert mistakes(changed("defaults/stepz", 3)) == ["defaults.stepz: unknown key; did you mean 'steps'?"]
    assert mistakes(changed("defaults/optimizer/lr", -1)) == ["defaults.optimizer.lr: must be greater than 0 (got -1)"]
    assert mistakes(changed("defaults/optimizer/lr", ...)) == ["defaults.optimizer.lr: is missing"]
    assert mistakes(changed("defaults/processes", ["stable"])) == ["defaults.processes: must contain 'discrete'"]


def test_what_a_run_says_itself_is_its_own_mistake():
    raw = changed("runs/mlp/optimizer", {"lr": -1})
    assert mistakes(raw) == ["runs.mlp.optimizer.lr: must be greater than 0 (got -1)"]
    raw = changed("defaults/model", {"name": "cnn", "depth": 3})  # replaced in both runs
    assert mistakes(
        raw | {"runs": raw["runs"] | {"mlp": raw["runs"]["mlp"] | {"model": {"name": "mlp", "width": 0}}}}
    ) == ["runs.mlp.model.width: must be greater than or equal to 1 (got 0)"]


@pytest.mark.parametrize("defaults, shown", [(None, "nothing"), ([], "a list"), (3, "3")])
def test_defaults_must_be_a_mapping(defaults, shown):
    assert f"defaults: must be a mapping of keys (got {shown})" in mistakes(VALID | {"defaults": defaults})


# -- single mistakes ----------------------------------------------------------------------------------------------

PATH_RULE = "must be a path like package.module:Name"
NAME_RULE = "must be made of lower-case letters, digits and hyphens, the first not a hyphen"


@pytest.mark.parametrize(
    "path, value, message",
    [
        # unknown keys, with those of the same mapping as suggestions
        ("thread", 2, "thread: unknown key; did you mean 'threads'?"),
        ("default", {}, "default: unknown key; did you mean 'defaults'?"),
        ("runs/mlp/model/widht", 3, "runs.mlp.model.widht: unknown key; did you mean 'width'?"),
        ("runs/mlp/model/channels", 3, "runs.mlp.model.channels: unknown key; there are name, width, depth, activation"),
        ("figures/gd-eos/begin", 3, "figures.gd-eos.begin: unknown key; there are draw, run, runs, seeds, start, stop"),
        ("runs/mlp/3", 3, "runs.mlp.3: unknown key; "),
        # missing
        ("profile", ..., "profile: is missing"),
        ("runs/mlp/model", ..., "runs.mlp.model: is missing"),
        ("figures/gd-eos/run", ..., "figures.gd-eos.run: is missing"),
        ("runs/mlp/model/name", ..., "runs.mlp.model: needs a `name`"),
        # wrong types: nothing is converted in silence
        ("profile", 3, "profile: must be text (got 3)"),
        ("threads", "2", "threads: must be a whole number (got '2')"),
        ("threads", 2.5, "threads: must be a whole number (got 2.5)"),
        ("threads", True, "threads: must be a whole number (got true)"),
        ("runs/mlp/steps", None, "runs.mlp.steps: must be a whole number (got nothing)"),
        ("runs/mlp/average_width", "wide", "runs.mlp.average_width: must be a number (got 'wide')"),
        ("runs/mlp/average_width", False, "runs.mlp.average_width: must be a number (got false)"),
        ("runs/mlp/model", "mlp", "runs.mlp.model: must be a mapping of keys (got 'mlp')"),
        ("runs/mlp/central", [1], "runs.mlp.central: must be a mapping of keys (got a list)"),
        ("runs/mlp", None, "runs.mlp: must be a mapping of keys (got nothing)"),
        ("runs", ["mlp"], "runs: must be a mapping of keys (got a list)"),
        ("figures", None, "figures: must be a mapping of keys (got nothing)"),
        ("runs/mlp/processes", "discrete", "runs.mlp.processes: must be a list (got 'discrete')"),
        ("cifar10_path", "", "cifar10_path: must not be empty (got '')"),
        # out of range
        ("threads", 0, "threads: must be greater than or equal to 1 (got 0)"),
        ("device", "gpu", "device: must be 'auto', 'cpu' or 'cuda' (got 'gpu')"),
        ("runs", {}, "runs: must have at least one entry"),
        ("runs/mlp/average_width", math.nan, "runs.mlp.average_width: must be finite (got nan)"),
        ("runs/mlp/average_width", math.inf, "runs.mlp.average_width: must be finite (got inf)"),
        ("runs/mlp/steps", 10**30, "runs.mlp.steps: must be less than or equal to 2147483647 (got 1000000000"),
        ("runs/mlp/steps", 10**5000, "runs.mlp.steps: must be less than or equal to 2147483647 (got a huge number)"),
        ("runs/mlp/average_width", 10**400, "runs.mlp.average_width: must be a number (got 10000"),
        ("runs/mlp/processes", ["discrete", "flow"],
         "runs.mlp.processes.1: must be 'discrete', 'stable', 'central', "),
        ("runs/mlp/model/name", "mpl", "runs.mlp.model.name: nothing is called 'mpl'; did you mean 'mlp'?"),
        ("runs/mlp/model/name", "gru", "runs.mlp.model.name: nothing is called 'gru'; there are mlp, cnn, resnet, vit, "),
        ("runs/mlp/model/name", 3, "runs.mlp.model.name: nothing is called 3; there are mlp, cnn, resnet, vit, "),
        ("profile", "My profile", f"profile: {NAME_RULE} (got 'My profile')"),
        ("profile", "a\n", f"profile: {NAME_RULE} (got 'a\\n')"),
        ("profile", "a" * 101, "profile: must have at most 100 characters (got 'aaaa"),
        ("figures/scorecard", {"draw": "gd-eos", "run": "mlp"},
         "figures.scorecard: every profile has a picture of this name; choose another"),
        # between keys
        ("runs/mlp/dataset/examples", 41,
         "runs.mlp.dataset.examples: must be a multiple of classes (4) up to 20000 (got 41)"),
        ("runs/mlp/dataset/test_examples", 4004,
         "runs.mlp.dataset.test_examples: must be a multiple of classes (4) up to 4000"),
        ("runs/sort/dataset/length", 2,
         "runs.sort.dataset.examples: all sequences differ, so with test_examples there can be 16"),
        ("runs/sort/dataset/length", 10**9,
         "runs.sort.dataset.length: symbols^length (4^1000000000) must be below 2^63"),
        ("runs/sort/model/width", 12, "runs.sort.model.width: must be a multiple of twice the heads (8) (got 12)"),
        ("runs/mlp/spectrum", {"minimum": 17}, "runs.mlp.spectrum.minimum: must be at most maximum (16) (got 17)"),
        ("runs/mlp/outputs", 401, "runs.mlp.outputs: must be at most dataset.test_examples (400) (got 401)"),
        ("runs/mlp/processes", ["central"], "runs.mlp.processes: must contain 'discrete'"),
        ("runs/mlp/processes", ["discrete", "discrete"], "runs.mlp.processes: must not repeat"),
        ("runs/mlp/model", {"name": "transformer"},
         "runs.mlp.model: 'transformer' takes tokens, and dataset 'cifar10' has images; use mlp, cnn, resnet, vit"),
        ("runs/sort/model", {"name": "mlp"},
         "runs.sort.model: 'mlp' takes images or points, and dataset 'sorting' has tokens; use transformer, lstm, mamba"),
        ("runs/mlp/model", {"name": "vit", "patch": 5},
         "runs.mlp.model: does not fit dataset 'cifar10': patches of 5x5 do not tile 32x32"),
        ("runs/mlp/model", {"name": "vit", "width": 6}, "runs.mlp.model.width: must be a multiple of 4 (got 6)"),
        ("runs/mlp/model", {"name": "resnet", "blocks": [1] * 8},
         "runs.mlp.model: does not fit dataset 'cifar10': images must be at least 128x128 (are 32x32)"),
        ("runs/mlp/model", {"name": "resnet", "blocks": []},
         "runs.mlp.model.blocks: must have at least one entry"),
        ("runs/mlp/model/activation", "swish",
         "runs.mlp.model.activation: must be 'gelu', 'silu', 'relu' or 'tanh' (got 'swish')"),
        ("runs/mlp/criterion", "bce", "runs.mlp.criterion: must be 'mse' or 'cross-entropy' (got 'bce')"),
        ("runs/mlp/criterion", 3, "runs.mlp.criterion: must be 'mse' or 'cross-entropy' (got 3)"),
        ("runs/mlp/accuracy_every", -1, "runs.mlp.accuracy_every: must be greater than or equal to 0 (got -1)"),
        # plugins
        ("runs/mlp/criterion", "my:", f"runs.mlp.criterion: {PATH_RULE} (got 'my:')"),
        ("runs/mlp/criterion", {"name": "mse"}, f"runs.mlp.criterion.name: {PATH_RULE} (got 'mse')"),
        ("runs/mlp/criterion", {"scale": 3}, "runs.mlp.criterion.name: is missing"),
        ("runs/mlp/criterion", {"name": "a:b", "scale": math.nan},
         "runs.mlp.criterion.scale: must be made of numbers, text, lists and mappings (got nan)"),
        ("runs/mlp/model", {"name": "a b:c"}, f"runs.mlp.model.name: {PATH_RULE} (got 'a b:c')"),
        ("runs/mlp/dataset", {"name": "a:b.c"}, f"runs.mlp.dataset.name: {PATH_RULE} (got 'a:b.c')"),
        ("runs/mlp/dataset", {"name": "a:b", "files": {1}},
         "runs.mlp.dataset.files: must be made of numbers, text, lists and mappings (got a list)"),
        ("runs/mlp/microbatch_size", "all", "runs.mlp.microbatch_size: must be 'auto' (got 'all')"),
        ("runs/mlp/microbatch_size", 0, "runs.mlp.microbatch_size: must be greater than or equal to 1 (got 0)"),
        ("figures/gd-eos/run", "mpl", "figures.gd-eos.run: no run is called 'mpl'; did you mean 'mlp'?"),
        ("figures/gd-eos/run", "x", "figures.gd-eos.run: no run is called 'x'; there are mlp, sort"),
        ("figures/other/draw", "gd-eoz", "figures.other.draw: no figure is called 'gd-eoz'; did you mean 'gd-eos'?"),
        ("figures/other/draw", ..., "figures.other: no figure has this name; `draw` must say which of the catalogue it is"),
        ("figures/other/stop", 5, "figures.other.stop: must be greater than start (5) (got 5)"),
        ("figures/other/start", 40, "figures.other.start: must be below runs.sort.steps (40) (got 40)"),
        ("runs/sort/processes", ["discrete", "stable"],
         "figures.other.run: shows the central flow; add it to runs.sort.processes"),
        ("runs/sort/outputs", 0, "figures.other.run: shows network outputs; set runs.sort.outputs to 1 or more"),
    ],
    ids=lambda value: "" if isinstance(value, int) else None,  # pytest too fails to print the huge ones
)  # fmt: skip
def test_each_mistake_is_named(path, value, message):
    (line,) = mistakes(changed(path, value))
    assert line.startswith(message)


def test_keys_must_be_text():
    assert mistakes(VALID | {1: 2}) == ["1: a key must be text (got 1)"]
    runs = VALID["runs"]
    assert "runs.3: must be text (got 3)" in mistakes(VALID | {"runs": runs | {3: runs["mlp"]}})


def test_names_of_folders_that_hold_something_else_are_refused():
    assert mistakes(VALID | {"profile": "gallery"}) == [
        "profile: 'gallery' is a folder of something else; choose another"
    ]
    runs = VALID["runs"]
    assert mistakes(VALID | {"runs": runs | {"datasets": runs["mlp"]}}) == [
        "runs.datasets: a folder of this name holds something else; choose another"
    ]


def test_names_of_runs_and_figures_are_checked():
    runs = VALID["runs"]
    assert mistakes(VALID | {"runs": runs | {"My run": runs["mlp"]}}) == [f"runs.My run: {NAME_RULE} (got 'My run')"]
    assert mistakes(VALID | {"runs": runs | {"steps": runs["mlp"] | {"stepz": 1}}}) == [
        "runs.steps.stepz: unknown key; did you mean 'steps'?"  # a run may be called as a key is
    ]


def test_all_mistakes_come_at_once():
    raw = changed("runs/mlp/model/width", 0) | {"device": "tpu", "thread": 1}
    raw["figures"]["gd-eos"]["run"] = "none"
    raw["runs"]["sort"]["dataset"]["length"] = 2
    found = {line.split(": ")[0] for line in mistakes(raw)}
    assert found == {"runs.mlp.model.width", "device", "thread", "figures.gd-eos.run", "runs.sort.dataset.examples"}


def test_a_number_that_yaml_takes_for_text_is_a_number():
    assert yaml.safe_load("lr: 1e-3") == {"lr": "1e-3"}  # YAML 1.1 wants a point in it
    assert load(changed("defaults/optimizer/lr", "1e-3")).runs["mlp"].optimizer.lr == 1e-3


@pytest.mark.parametrize(
    "dataset, message",
    [
        ({"name": "cifar10", "pool": 3}, "pool: must be 1, 2 or 4 (got 3)"),
        ({"name": "cifar10", "binary": True}, "binary: one output unit tells two classes apart; needs classes: 2 (got 4)"),
        ({"name": "digits", "examples": 1001, "test_examples": 10},
         "examples: must be a multiple of classes (10) (got 1001)"),
        ({"name": "digits"} | {"examples": 1700, "test_examples": 50},
         "examples: with test_examples there can be 1740, 174 of each class (got 1750)"),
        ({"name": "digits", "classes": 11}, "classes: must be less than or equal to 10 (got 11)"),
        ({"name": "moons", "examples": 5}, "examples: must be a multiple of classes (2) (got 5)"),
        ({"name": "moons", "classes": 2},
         "classes: unknown key; there are examples, test_examples, binary, name, noise, seed"),
        ({"name": "moons", "noise": -1}, "noise: must be greater than or equal to 0 (got -1)"),
        ({"name": "circles", "factor": 1}, "factor: must be less than 1 (got 1)"),
        ({"name": "classification", "classes": 5}, None),
        ({"name": "classification", "classes": 5, "binary": True},
         "binary: one output unit tells two classes apart; needs classes: 2 (got 5)"),
        ({"name": "classification", "dimensions": 4}, "informative: must be at most dimensions (4) (got 5)"),
        ({"name": "classification", "clusters": 17},
         "clusters: with 2 classes must fit on 32 corners (2^informative) (got 17)"),
        ({"name": "classification", "separation": 0}, "separation: must be greater than 0 (got 0)"),
        ({"name": "copying", "length": 3}, "examples: all sequences differ, so with test_examples there can be 64"),
        ({"name": "sst2", "test_examples": 3}, "test_examples: must be a multiple of classes (2) (got 3)"),
        ({"name": "sst2", "path": ""}, "path: must not be empty (got '')"),
        ({"name": "sst2", "path": "data/{run}"}, "path: must have no braces, which Snakemake takes for wildcards"),
    ],
)  # fmt: skip
def test_mistakes_of_datasets_are_named(dataset, message):
    kind = {"copying": "transformer", "sst2": "transformer"}.get(dataset["name"], "mlp")
    raw = changed("runs/one", {"dataset": dataset, "model": {"name": kind}})
    if message is None:
        assert load(raw).runs["one"].dataset.classes == 5
    else:
        (line,) = mistakes(raw)
        assert line.startswith(f"runs.one.dataset.{message}")


@pytest.mark.parametrize(
    "dataset", ["cifar10", "digits", "moons", "circles", "classification", "sorting", "copying", "sst2"]
)
def test_networks_must_fit_the_kind_of_examples(dataset):
    images, tokens = ("cifar10", "digits"), ("sorting", "copying", "sst2")
    kind = "images" if dataset in images else "tokens" if dataset in tokens else "points"
    for model in ("mlp", "cnn", "resnet", "vit", "lstm", "transformer", "mamba"):
        raw = changed("runs/one", {"dataset": {"name": dataset}, "model": {"name": model}})
        fits = {"mlp": kind != "tokens", "cnn": kind == "images", "resnet": kind == "images", "vit": kind == "images"}
        if fits.get(model, kind == "tokens"):
            assert load(raw).runs["one"].model.name == model
        else:
            (line,) = mistakes(raw)
            assert line.startswith(f"runs.one.model: {model!r} takes ") and f"dataset {dataset!r} has {kind}" in line


def test_what_is_only_seen_when_a_plugin_is_made_is_not_checked_here():
    dataset = {"name": "my:data", "kind": "unknown", "test_examples": 1, "needs_full": True, "image_size": "x"}
    for model in ("mlp", "transformer", "cnn", "vit", "my:Net"):
        run = load(changed("runs/one", {"dataset": dataset, "model": {"name": model}, "outputs": 5})).runs["one"]
        assert (run.dataset.kind, run.dataset.needs_full, run.dataset.image_size) == (None, False, None)
        assert run.dataset.options == {key: value for key, value in dataset.items() if key != "name"}
    for name in ("cifar10", "moons", "sorting"):
        options = {"takes": [], "refuses": 3, "width": 4}
        run = load(changed("runs/one", {"dataset": {"name": name}, "model": {"name": "my:Net", **options}})).runs["one"]
        assert run.model.options == options
        run.model.options["takes"].append(1)  # what a plugin does with its arguments stays its own
        assert run.model.options == options


def test_a_criterion_of_ones_own_may_be_a_path_alone():
    short, long = (
        load(changed("runs/mlp/criterion", own)).runs["mlp"] for own in ("my.losses:l", {"name": "my.losses:l"})
    )
    assert short == long and short.model_dump(mode="json") == long.model_dump(mode="json")
    for run in (short, load(changed("runs/mlp/criterion", {"name": "my:loss", "scale": [1, 2.5]})).runs["mlp"]):
        given_to_job = {"run": run.model_dump(mode="json"), "threads": 1}
        assert TrajectoryConfig.model_validate(json.loads(json.dumps(given_to_job))).run == run
        assert list(run.plugins) == ["criterion"]
    for own in ("my.losses:l", {"name": "my:loss", "scale": 2}):
        jsonschema.validate(changed("runs/mlp/criterion", own), json.loads(manual.schema()))


def test_where_files_lie_is_no_part_of_what_a_job_depends_on():
    dataset = {"name": "sst2", "path": "~/sst2"}
    run = load(changed("runs/one", {"dataset": dataset, "model": {"name": "transformer"}})).runs["one"]
    assert run.dataset.path == "~/sst2"
    assert "~/sst2" not in json.dumps(run.model_dump(mode="json"))


# -- fuzz ---------------------------------------------------------------------------------------------------------

KEYS = sorted({"", "name", "nmae", "é\n", "central", "stop", "draw", "mlp", "defaults", "steps", "-", "a" * 200})
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 70),
    st.sampled_from([30, 400]).map(lambda exponent: 10**exponent),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from(["mlp", "cnn", "vit", "lstm", "transformer", "gd", "cifar10", "sorting", "moons", "sst2", "auto"]),
    st.sampled_from(["nan", "1e-3", "1e999", "\ud800", "x" * 500]),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.dates(),
)  # fmt: skip
VALUES = st.recursive(
    ODD,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(KEYS) | st.integers(0, 3) | st.none() | st.tuples(st.integers()), inner, max_size=3
        ),
        st.sets(st.integers(0, 3), max_size=2),
    ),
    max_leaves=6,
)


def places(node: Any, path: tuple = ()) -> list[tuple]:
    """The paths of all keys of a nested mapping."""
    return [
        place for key, value in node.items() for place in [(*path, key), *places(value, (*path, key))]
    ] if isinstance(node, dict) else []  # fmt: skip


@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_mutated_configuration_is_accepted_or_its_key_is_named(data):
    raw = copy.deepcopy(VALID)
    for _ in range(data.draw(st.integers(1, 3))):
        *parents, last = data.draw(st.sampled_from(places(raw)))
        node = raw
        for key in parents:
            node = node[key]
        action = data.draw(st.sampled_from(["set", "remove", "add"]))
        key = data.draw(st.sampled_from(KEYS)) if action == "add" else last
        if action == "remove":
            del node[last]
        else:
            node[key] = data.draw(VALUES)
        if not places(raw):
            break
    try:
        assert isinstance(load(raw), ProfileConfig)
    except ConfigError as error:
        _, *lines, _ = str(error).split("\n")
        known = {*ProfileConfig.model_fields, "defaults"}
        for line in lines:
            path, _, message = line.removeprefix("  ").partition(": ")
            assert path and message and len(line) < 600
            assert path.split(".")[0] in known or message.startswith(("unknown key", "a key must be text"))
        str(error).encode("utf-8")  # can be printed


# -- documents ----------------------------------------------------------------------------------------------------


def example() -> Any:
    """The first YAML file in the manual; the other one, with plugins, is run by a test of the workflow."""
    text, _ = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "config" / "README.md").read_text(), flags=re.M | re.S)
    return yaml.safe_load(text)


def test_generated_documents_are_up_to_date():
    cure = "run `python -m centralflows.config.manual`"
    readme = (ROOT / "config" / "README.md").read_text()
    assert (ROOT / "config" / "schema.json").read_text() == manual.schema(), cure
    assert readme == manual.manual(readme), cure


def test_every_key_has_its_meaning_in_the_manual():
    keys, _ = manual.tables().split("### The catalogue")
    for line in keys.splitlines():
        if line.startswith("| `") and line.count("|") == 5:
            _, key, values, _, meaning, _ = (cell.strip() for cell in line.split("|"))
            assert values and meaning, key


def test_a_manual_without_its_markers_is_refused():
    with pytest.raises(ValueError, match="lacks the lines"):
        manual.manual("# Configuration\n")


def test_the_example_of_the_manual_is_valid():
    jsonschema.validate(example(), json.loads(manual.schema()))
    loaded = load(example())
    # what the manual says of it
    assert (loaded.runs["deep"].optimizer.name, loaded.runs["deep"].optimizer.lr) == ("gd", 0.03)
    assert loaded.runs["sorting"].dataset == SortingConfig(name="sorting", examples=100, test_examples=40)


def test_the_mistakes_in_the_manual_are_real():
    raw = example()
    raw["runs"]["wide"]["model"] = {"name": "mlp", "widht": 64}
    raw["runs"]["wide"]["optimizer"] = {"lr": -0.05}
    raw["figures"]["gd-eos"]["run"] = "wdie"
    with pytest.raises(ConfigError) as error:
        load(raw, source="my.yaml")
    assert f"```\n{error.value}\n```" in (ROOT / "config" / "README.md").read_text()


def test_the_schema_refuses_what_an_editor_can_see():
    schema = json.loads(manual.schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(VALID, schema)
    for path, value in (("thread", 1), ("runs/mlp/steps", 0), ("defaults/optimizer/lr", 0), ("runs/mlp/model/x", 1)):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(changed(path, value), schema)


# -- figures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"gd-eos": {}}, "figures.gd-eos.run: is missing"),
        ({"gd-eos": {"runs": ["mlp"]}}, "figures.gd-eos.runs: shows one run; name it as `run`"),
        ({"gd-eos": {"run": "mlp", "runs": ["mlp"]}}, "figures.gd-eos.runs: give run or runs, not both"),
        ({"gd-eos-two-lrs": {"run": "mlp"}}, "figures.gd-eos-two-lrs.runs: compares 2 runs; list them"),
        ({"gd-eos-two-lrs": {"runs": ["mlp"]}}, "figures.gd-eos-two-lrs.runs: compares 2 runs; list them"),
        ({"gd-loss-zoo": {"run": "mlp"}}, "figures.gd-loss-zoo.runs: compares runs; list them"),
        (
            {"gd-loss-zoo": {"runs": ["mlp", "mpl"]}},
            "figures.gd-loss-zoo.runs: no run is called 'mpl'; did you mean 'mlp'?",
        ),
        ({"gd-quadratic-1d": {"run": "mlp"}}, "figures.gd-quadratic-1d.run: shows no run; leave it out"),
        (
            {"scalar-rmsprop-one-cycle": {"run": "mlp"}},
            "figures.scalar-rmsprop-one-cycle.run: shows the average of squared gradients; use scalar-rmsprop or rmsprop",
        ),
        (
            {"rmsprop-stationary-cosine": {"run": "mlp"}},
            "figures.rmsprop-stationary-cosine.run: shows stationary states along the central flow; "
            "set runs.mlp.stationary_every to 1 or more",
        ),
    ],
)
def test_a_figure_is_refused_what_it_cannot_be_drawn_from(figures, message):
    with pytest.raises(profile.ConfigError) as error:
        profile.load(VALID | {"figures": figures})
    assert f"  {message}" in str(error.value)


@pytest.mark.parametrize("profile", ["config", "smoke", "paper"])
def test_every_profile_draws_every_figure(profile):
    loaded = load(ROOT / "config" / f"{profile}.yaml")
    assert {figure.draw or slug for slug, figure in loaded.figures.items()} == set(CATALOGUE)
