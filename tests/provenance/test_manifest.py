"""Manifests find every change of a file, and records say what made it."""

from __future__ import annotations

import json
import platform
from importlib import metadata

import numpy as np
import pytest
import torch

from centralflows.common.hashing import digest
from centralflows.provenance import environment, manifest
from centralflows.provenance.manifest import ManifestError, manifest_path, record, verify_manifest, write_manifest

# -- manifests --------------------------------------------------------------------------------------------------------


@pytest.fixture
def recorded(tmp_path):
    """Two outputs, a store and a file, under one manifest."""
    store, image = tmp_path / "x.zarr", tmp_path / "x.png"
    (store / "loss" / "c").mkdir(parents=True)
    (store / "zarr.json").write_text("{}")
    (store / "loss" / "c" / "0").write_bytes(b"\0\1\2")
    image.write_bytes(b"png")
    manifest = manifest_path(store)
    write_manifest(manifest, [store, image], {"rule": "test"})
    return manifest


def findings(manifest) -> list[str]:
    with pytest.raises(ManifestError) as error:
        verify_manifest(manifest)
    return str(error.value).splitlines()


def test_an_unchanged_output_is_what_its_manifest_says(recorded):
    content = json.loads(recorded.read_text())
    assert verify_manifest(recorded).digest == content["digest"]
    assert set(content["files"]) == {"x.png", "x.zarr/zarr.json", "x.zarr/loss/c/0"}
    assert content["made"] == {"rule": "test"}
    assert recorded.name == "x.zarr.manifest.json"
    assert sorted(path.name for path in recorded.parent.iterdir()) == ["x.png", "x.zarr", "x.zarr.manifest.json"]


def test_digests_are_those_of_the_files_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    write_manifest(tmp_path / "s.json", [tmp_path / "abc"], {})
    # the example of FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert json.loads((tmp_path / "s.json").read_text())["files"] == {"abc": expected}


def test_every_finding_is_listed_at_once(recorded):
    store = recorded.parent / "x.zarr"
    (store / "zarr.json").unlink()
    (store / "loss" / "c" / "0").write_bytes(b"\0\1\3")
    (store / "loss" / "c" / "1").write_bytes(b"")
    (recorded.parent / "x.png").unlink()
    assert findings(recorded) == [
        f"{recorded}: files are not what it says",
        "  x.png: missing",
        "  x.zarr/loss/c/0: changed",
        "  x.zarr/loss/c/1: not in the manifest",
        "  x.zarr/zarr.json: missing",
        f"Remove {recorded} and run snakemake again.",
    ]


def test_each_finding_is_enough(recorded):
    store = recorded.parent / "x.zarr"
    for path, change in (
        ("x.png", lambda file: file.write_bytes(b"pnG")),
        ("x.zarr/new", lambda file: file.write_bytes(b"")),
        ("x.zarr/zarr.json", lambda file: file.rename(store / "zarr2.json")),
    ):
        before = {file: file.read_bytes() for file in recorded.parent.rglob("*") if file.is_file()}
        assert verify_manifest(recorded)
        change(recorded.parent / path)
        assert findings(recorded)
        for file in recorded.parent.rglob("*"):
            if file.is_file() and file not in before:
                file.unlink()
        for file, content in before.items():
            file.write_bytes(content)


def test_an_output_that_vanished_is_missing(recorded):
    (recorded.parent / "x.png").unlink()
    assert "  x.png: missing" in findings(recorded)


def test_files_beside_the_outputs_do_not_count(recorded):
    (recorded.parent / "y.png").write_bytes(b"another")
    assert verify_manifest(recorded)


def test_the_time_stamp_of_snakemake_does_not_count(recorded):
    before = verify_manifest(recorded).digest
    (recorded.parent / "x.zarr" / ".snakemake_timestamp").touch()
    assert verify_manifest(recorded).digest == before
    write_manifest(recorded, [recorded.parent / "x.zarr", recorded.parent / "x.png"], {})
    assert verify_manifest(recorded).digest == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "3",
        lambda text: json.dumps({"files": {}}),
        lambda text: json.dumps(json.loads(text) | {"files": 3}),
        lambda text: json.dumps(json.loads(text) | {"outputs": None}),
        lambda text: json.dumps(json.loads(text) | {"files": {}}),  # an emptied list of files has another digest
        lambda text: json.dumps(json.loads(text) | {"outputs": []}, indent=1),
        lambda text: text.replace('"x.png": "', '"x.png": "0', 1),
        lambda text: text.replace('"rule": "test"', '"rule": "flow"'),
        lambda text: text.replace("\n ", "\n\t"),  # the same content, but not the same bytes
        lambda text: text.rstrip(),
    ],
)
def test_a_damaged_manifest_is_refused_with_its_cure(recorded, damage):
    recorded.write_text(damage(recorded.read_text()))
    (line,) = findings(recorded)
    assert line.startswith(f"{recorded}: cannot be read (") and line.endswith("remove it and run snakemake again")


def test_a_missing_or_binary_manifest_is_refused(recorded):
    recorded.write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in findings(recorded)[0]
    recorded.unlink()
    assert findings(recorded) == [f"{recorded}: is missing; run snakemake again"]


def test_the_identity_of_a_manifest_depends_on_its_record_and_the_digest_does_not(recorded):
    one = verify_manifest(recorded)
    write_manifest(recorded, [recorded.parent / "x.zarr", recorded.parent / "x.png"], {"rule": "other"})
    other = verify_manifest(recorded)
    assert one.digest == other.digest and one.identity != other.identity


def test_what_is_not_there_cannot_be_recorded(tmp_path):
    (tmp_path / "there").touch()
    with pytest.raises(FileNotFoundError, match=r"no such output: \S+/gone$"):
        write_manifest(tmp_path / "manifest.json", [tmp_path / "there", tmp_path / "gone"], {})
    assert not (tmp_path / "manifest.json").exists()


def test_the_digest_depends_on_names_and_contents_alone(tmp_path):
    digests = set()
    for folder, made in (("a", {"host": "one"}), ("b", {"host": "two"})):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").write_text("same")
        write_manifest(tmp_path / folder / "s.json", [tmp_path / folder / "x"], made)
        digests.add(verify_manifest(tmp_path / folder / "s.json").digest)
    assert len(digests) == 1
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 2, "b": 1})


# -- records ------------------------------------------------------------------------------------------------------


def test_a_record_says_what_made_a_thing():
    made = record(rule="flow")
    assert made["rule"] == "flow"
    assert {"software", "libraries", "variables", "lock", "machine", "gpu", "commit", "dirty"} <= made.keys()
    assert made["software"]["numpy"] == np.__version__ and made["software"]["python"] == platform.python_version()
    blas = [library for library in made["libraries"]["loaded"] if "architecture" in library]
    assert blas and all(library["version"] for library in blas)
    assert made["libraries"]["instructions"] == torch.backends.cpu.get_cpu_capability()
    assert json.loads(json.dumps(made)) == made


def test_a_record_without_a_repository_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "REPOSITORY", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    made = record()
    assert made["commit"] is None and made["dirty"] is False


def test_the_versions_in_a_record_are_those_that_the_metadata_of_packages_say():
    installed = environment.software()
    assert installed.keys() >= {"torch", "numpy", "snakemake-interface-common", "python"}
    assert all(metadata.version(name) == version for name, version in installed.items() if name != "python")
