"""Bad input: every configuration and every data file is accepted or refused with a message that says where."""

from __future__ import annotations

import copy
import gzip
import io
import json
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from calls import SMOKE, snakemake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from centralflows.__main__ import main
from centralflows.common.errors import UserError
from centralflows.config.messages import ConfigError
from centralflows.config.profile import ProfileConfig, load
from centralflows.problems.data import cifar10_formats, sst2
from centralflows.problems.data.cifar10 import Cifar10, save

FUZZ = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}

# -- configurations -----------------------------------------------------------------------------------------------

RAW = yaml.safe_load(SMOKE.read_text())
RAW["figures"] = {slug: figure for slug, figure in RAW["figures"].items() if slug.startswith("gd-e")}
ROOTS = {*ProfileConfig.model_fields, "defaults", "the file"}


def places(node: Any, path: tuple = ()) -> list[tuple]:
    """The paths of everything in nested mappings and lists."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place for key, value in children for place in [(*path, key), *places(value, (*path, key))]]


def at(node: Any, path: tuple) -> Any:
    for key in path:
        node = node[key]
    return node


PLACES = places(RAW)
WORDS = sorted(
    {str(path[-1]) for path in PLACES} | {str(value) for path in PLACES if not isinstance(value := at(RAW, path), dict)}
)
ODD = st.one_of(
    st.sampled_from([None, True, False, "", "auto", "1e-3", "nan", "os:system", "~nobody/x", "x\0y", "{run}", "a" * 300]),
    st.sampled_from([0, -1, -(10**9), 2**31, 10**30, -(10**400), 1e308, -0.0, float("nan"), float("inf"), float("-inf")]),
    st.integers(), st.floats(), st.text(max_size=8), st.binary(max_size=3), st.dates(), st.datetimes(),
    st.sampled_from(WORDS),
    st.sampled_from(PLACES).map(lambda path: copy.deepcopy(at(RAW, path))),  # what belongs elsewhere
)  # fmt: skip
VALUES = st.recursive(
    ODD,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.integers(0, 3), inner, max_size=3)
    ),
    max_leaves=5,
)


@st.composite
def configurations(draw) -> dict[str, Any]:
    """The smoke profile with some keys set, removed, added or starting in circles."""
    raw = copy.deepcopy(RAW)
    for _ in range(draw(st.integers(1, 4))):
        *parents, last = draw(st.sampled_from(places(raw) or [("profile",)]))
        node = at(raw, tuple(parents))
        action = draw(st.sampled_from(["set", "set", "remove", "add", "circle"]))
        if action == "remove" and isinstance(node, (dict, list)) and node:
            del node[last]
        elif action == "add" and isinstance(node, dict):
            node[draw(st.sampled_from(WORDS) | st.text(max_size=5))] = draw(VALUES)
        elif action == "circle" and isinstance(raw.get("runs"), dict):
            for run in filter(lambda run: isinstance(run, dict), raw["runs"].values()):
                run["start"] = {"run": draw(st.sampled_from(sorted(RAW["runs"]))), "step": draw(st.integers(-1, 99))}
        elif isinstance(node, (dict, list)):
            node[last] = draw(VALUES)
    return raw


def accepted(file: Path) -> bool:
    """Whether a file is read; if not, that the message says where, in lines that can be printed."""
    try:
        assert isinstance(load(file), ProfileConfig)
    except ConfigError as error:
        head, *lines = str(error).split("\n")
        head.encode(), str(error).encode()
        if " has " not in head:  # no YAML, or no mapping
            assert not lines and (f"{file} cannot be read: " in head or "must be a mapping of keys" in head)
        for line in lines[:-1]:
            path, _, message = line.removeprefix("  ").partition(": ")
            assert path and message and len(line) < 600
            assert path.split(".")[0] in ROOTS or not message.startswith(("must", "is missing"))
        return False
    return True


def test_a_thousand_wrong_configurations_are_accepted_or_refused_by_key(tmp_path, survived):
    file, verdicts = tmp_path / "fuzzed.yaml", set()

    @settings(max_examples=1000, **FUZZ)
    @given(raw=configurations())
    def run(raw):
        file.write_text(yaml.safe_dump(raw))
        verdicts.add(accepted(file))
        survived("config")

    run()
    assert verdicts == {True, False}  # it would prove nothing if all of them were refused


@settings(max_examples=200, **FUZZ)
@given(data=st.data())
def test_damaged_text_is_accepted_or_refused(tmp_path, data):
    text = SMOKE.read_bytes()[:1500]
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.integers(0, 40))
        junk = st.sampled_from(
            [b"&a ", b"*a", b"!!python/name:os.system ", b"<<: ", b"\t", b"---\n", b"'", b"? ", b"{", b"%", b"\xff"]
        )
        text = text[:start] + data.draw(junk | st.just(text[start:end]) | st.binary(max_size=4)) + text[end:]
    file = tmp_path / "fuzzed.yaml"
    file.write_bytes(text)
    accepted(file)


@pytest.mark.parametrize(
    "extra, line",
    [
        ("profile: other\n", "profile: is written twice, in lines 2 and "),
        ("__use_yte__: true\n", "__use_yte__: makes Snakemake run the Python"),
    ],
)
def test_what_snakemake_would_let_pass_is_refused_before_any_job(tmp_path, extra, line):
    file = tmp_path / "file.yaml"
    file.write_text(f"{SMOKE.read_text()}\n{extra}")
    done = snakemake(tmp_path, "--dry-run", config=file)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "Traceback" not in said
    assert line in said
    assert not (tmp_path / "results").exists()


def test_a_file_of_somebody_else_is_checked_without_running_it(tmp_path, capsys):
    file, ran = tmp_path / "theirs.yaml", tmp_path / "ran"
    file.write_text(f"__use_yte__: true\nprofile: ?open({str(ran)!r}, 'w')\n")
    assert main(["check", str(file)]) == 1
    assert "__use_yte__: makes Snakemake run the Python" in capsys.readouterr().err
    assert not ran.exists()
    assert main(["check", str(SMOKE)]) == 0
    assert capsys.readouterr().out == f"{SMOKE}: 6 runs and 46 figures\n"
    file.write_text(
        yaml.safe_dump(RAW | {"runs": RAW["runs"] | {"own": RAW["runs"]["mlp"] | {"model": {"name": "os:system"}}}})
    )
    assert main(["check", str(file)]) == 0
    assert capsys.readouterr().out.endswith("It runs your own code: os:system\n")


# -- data ---------------------------------------------------------------------------------------------------------


def archived(members: dict[str, bytes]) -> bytes:
    """An uncompressed tar, so that what is changed in it is not merely a wrong checksum."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


@pytest.fixture(scope="module")
def forms(tmp_path_factory) -> dict[str, bytes]:
    """CIFAR-10 of two images per batch in the forms that are one file, and SST-2."""
    random = np.random.default_rng(0)
    batches = [random.integers(256, size=(2, 32, 32, 3), dtype=np.uint8) for _ in range(6)]
    binary = [b"".join(b"\1" + image.transpose(2, 0, 1).tobytes() for image in batch) for batch in batches]
    pngs = [io.BytesIO() for _ in batches]
    for batch, png in zip(batches, pngs, strict=True):
        Image.fromarray(batch.reshape(-1, 1024, 3)).save(png, "PNG")
    labels = [json.dumps([1] * count).encode() for count in (10, 2)]
    package = [*(png.getvalue() for png in pngs), *labels]
    file = tmp_path_factory.mktemp("forms") / "cifar10.npz"
    save(file, Cifar10(np.concatenate(batches[:-1]), np.ones(10, np.uint8), batches[-1], np.ones(2, np.uint8)))
    return {
        "binary": archived(dict(zip(cifar10_formats.BINARY_MEMBERS, binary, strict=True))),
        "package": archived(
            dict(zip(cifar10_formats.PNG_MEMBERS + cifar10_formats.LABEL_MEMBERS, package, strict=True))
        ),
        "npz": file.read_bytes(),
        "sentences": b"sentence\tlabel\n" + b"a good film\t1\na bad film\t0\n" * 4,
    }


def read(form: str, data: bytes, folder: Path) -> None:
    if form == "sentences":
        sst2.parse(data, where="train.tsv")
    else:
        file = folder / ("data.npz" if form == "npz" else "data.tar.gz")
        file.write_bytes(data if form == "npz" else gzip.compress(data, 1))
        cifar10_formats.read(file)


FORMS = ("binary", "package", "npz", "sentences")


@pytest.mark.parametrize("form", FORMS)
def test_undamaged_data_are_read(forms, tmp_path, form):
    read(form, forms[form], tmp_path)


@pytest.mark.parametrize("form", FORMS)
def test_damaged_data_are_refused_with_one_message(forms, tmp_path, form, survived):
    magic = (b"cifar", b"package", b"\x93NUMPY", b"PK", b"\x89PNG")  # headers are where damage does most
    heads = [place for place in range(len(forms[form])) if forms[form].startswith(magic, place)]

    @settings(max_examples=250, **FUZZ)
    @given(data=st.data())
    def run(data):
        damaged = forms[form]
        for _ in range(data.draw(st.integers(1, 4))):
            near = data.draw(st.sampled_from([0, *heads])) + data.draw(st.integers(0, 160))
            start = data.draw(st.sampled_from([near, data.draw(st.integers(0, len(damaged)))]))
            length = data.draw(st.sampled_from([0, 1, 2, 8, len(damaged)]))
            junk = st.binary(max_size=8) | st.sampled_from([b"\xff" * 8, b"\0" * 8, b"9" * 8, b"["])
            damaged = damaged[:start] + data.draw(junk) + damaged[start + length :]
        try:
            read(form, damaged, tmp_path)
        except (UserError, OSError) as error:
            assert str(error)
        survived("data")

    run()


def test_labels_that_are_nested_without_end_are_refused(forms):
    with pytest.raises(UserError, match="not JSON"):
        cifar10_formats.json_labels(b"[" * (10 * sys.getrecursionlimit()), where="labels")


def test_an_archive_that_grows_when_it_is_read_is_refused(tmp_path):
    file = tmp_path / "bomb.npz"
    np.savez_compressed(file, train_images=np.zeros(10**8, np.uint8))
    with pytest.raises(UserError, match=r"compressed, 100,000,\d\d\d bytes in a file of"):
        cifar10_formats.read(file)


def test_an_array_that_claims_to_be_larger_than_it_is_is_refused(tmp_path):
    header, file = io.BytesIO(), tmp_path / "claim.npz"
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**14,)})
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("train_images.npy", header.getvalue())
    with pytest.raises(UserError, match=r"claim\.npz: not a readable CIFAR-10 npz"):
        cifar10_formats.read(file)
