"""Lineages of what the workflow made: complete, and broken by whatever is edited, truncated, replaced or missing.

Long, as all of it looks at one run of the workflow, which takes minutes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from centralflows.__main__ import main
from centralflows.common.hashing import digest
from centralflows.config.profile import load
from centralflows.provenance import lineage, record_differences
from centralflows.provenance.lineage import Link, contradictions, identifier_of, trace
from centralflows.provenance.manifest import read_manifest, write_manifest

FIGURE = "figures/smoke/gd-eos.svg"
STORE = "results/smoke/mlp/midpoint.zarr"


@pytest.fixture(scope="module")
def whole(built, tmp_path_factory) -> Path:
    """One run, its dataset and one of its figures, to break and to mend."""
    folder = tmp_path_factory.mktemp("part")
    shutil.copytree(built / "results" / "smoke" / "mlp", folder / "results" / "smoke" / "mlp")
    for dataset in (built / "results" / "smoke" / "datasets").glob("cifar10-*.npz*"):
        target = folder / "results" / "smoke" / "datasets" / dataset.name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(dataset, target)
    (folder / "figures" / "smoke").mkdir(parents=True)
    for file in (built / "figures" / "smoke").glob("gd-eos.*"):
        shutil.copy(file, folder / "figures" / "smoke")
    return folder


@pytest.fixture
def part(whole, monkeypatch) -> Path:
    """The same as the directory that commands run in; whoever breaks it mends it."""
    monkeypatch.chdir(whole)
    return whole


def audited(capsys, *arguments: str) -> tuple[int, str]:
    status = main(["audit", *arguments])
    return status, capsys.readouterr().out


# -- what can be answered -----------------------------------------------------------------------------------------


def test_every_question_has_an_answer_for_everything(built, capsys):
    status, text = audited(capsys, "--all", "smoke", "--results", str(built / "results"), "--json")
    told = json.loads(text)
    assert status == 0 and told["intact"]
    links = {link["name"]: link for link in told["links"]}
    assert {"results/smoke/scorecard.json", "figures/smoke/README.md", STORE} <= links.keys()
    for name, link in links.items():
        made = link["manifest"]["made"]
        assert len(made["commit"]) == 40 and isinstance(made["dirty"], bool), name
        assert made["source_digest"] == digest(made["modules"])
        assert len(made["lock"]) == 64 and {"python", "torch", "numpy"} <= made["software"].keys()
        assert made["libraries"]["loaded"] and made["machine"]["host"] and made["machine"]["processor"]
        assert made["command"].startswith("snakemake ") and made["rule"] and made["started"] and made["seconds"] >= 0
        if made["rule"] in ("discrete", "flow", "speeds"):
            assert made["device"] == "cpu" and made["threads"] == 1 and made["config"]["run"]["seed"] == 0
        assert link["inputs"].keys() == made["inputs"].keys()
        for pin, source in zip(made["inputs"].values(), link["inputs"].values(), strict=True):
            assert links[source]["manifest"]["identity"] == pin["manifest"]
    assert links["results/smoke/scorecard.json"]["inputs"]["mlp/central"] == "results/smoke/mlp/central.zarr"


def test_a_figure_leads_back_to_its_dataset_with_source_and_licence(part, capsys):
    status, text = audited(capsys, FIGURE)
    assert status == 0 and "Intact: " in text
    lines = [line.lstrip("│└├─ ") for line in text.splitlines()]
    order = [
        f"{FIGURE}, gd-eos.png",
        "results/smoke/mlp/discrete.zarr  as mlp/discrete",
        "results/smoke/datasets/cifar10-",
    ]
    found = [next(i for i, line in enumerate(lines) if line.startswith(start)) for start in order]
    assert found == sorted(found)
    assert "krizhevsky" in text.lower() and "none stated; its authors ask for a citation" in " ".join(lines)
    assert "workflow/resources/cifar10-subset.npz  (sha256 dc50008c5652e456)" in text
    assert all(len(line) <= 128 for line in text.splitlines())


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_a_copied_figure_is_known_by_its_identifier(part, capsys, tmp_path, kind):
    copied = shutil.copy(part / "figures" / "smoke" / f"gd-eos.{kind}", tmp_path / f"plot.{kind}")
    made = read_manifest(part / "figures" / "smoke" / "gd-eos.manifest.json").made
    assert identifier_of(copied) == made["identifier"]
    assert audited(capsys, str(copied), "--results", str(part / "results"))[0] == 0
    gallery = part / "figures" / "gallery"
    gallery.mkdir(exist_ok=True)
    assert audited(capsys, str(shutil.copy(copied, gallery)))[0] == 0
    with copied.open("ab") as file:
        file.write(b"\n")
    status, text = audited(capsys, str(copied), "--results", str(part / "results"))
    assert status == 1 and f"{copied}: is not what gd-eos.manifest.json manifests" in text


def test_a_file_of_unknown_origin_is_one_message(part, capsys, tmp_path):
    (tmp_path / "x.svg").write_text("<svg/>")
    assert main(["audit", str(tmp_path / "x.svg"), "--results", str(part / "results")]) == 1
    assert "carries no identifier" in capsys.readouterr().err
    assert main(["audit", str(tmp_path / "nothing.svg")]) == 1
    assert "there is no such file" in capsys.readouterr().err
    assert main(["verify", "nothing"]) == 1
    assert "there is nothing of profile 'nothing'" in capsys.readouterr().err


# -- damage -------------------------------------------------------------------------------------------------------


def flipped(data: bytes) -> bytes:
    """One bit of it changed, at random."""
    generator = np.random.default_rng()
    changed = bytearray(data)
    changed[generator.integers(len(data))] ^= 1 << int(generator.integers(8))
    return bytes(changed)


def truncated(data: bytes) -> bytes:
    return data[: int(np.random.default_rng().integers(len(data)))]


KINDS = {
    "a chunk": f"{STORE}/loss/c/0",
    "a shard of weights": f"{STORE}/weights/c/0/0",
    "metadata of an array": f"{STORE}/loss/zarr.json",
    "metadata of a store": f"{STORE}/zarr.json",
    "the manifest of a store": f"{STORE}.manifest.json",
    "a dataset": "results/smoke/datasets/cifar10-*.npz",
    "the manifest of a dataset": "results/smoke/datasets/cifar10-*.npz.manifest.json",
    "an SVG": FIGURE,
    "a PNG": "figures/smoke/gd-eos.png",
    "the manifest of a figure": "figures/smoke/gd-eos.manifest.json",
}


def source_of(part: Path, pattern: str) -> Path:
    """The file of a kind that the figure was made from."""
    if "*" not in pattern:
        return part / pattern
    link = trace(part / FIGURE, part / "results").inputs["mlp/discrete"].inputs["dataset"]
    return link.manifest.path if pattern.endswith(".manifest.json") else part / link.name


@pytest.mark.parametrize("kind", KINDS)
def test_damage_of_every_kind_of_file_is_found(part, capsys, survived, kind):
    file = source_of(part, KINDS[kind])
    content = file.read_bytes()
    damages: list[Callable[[bytes], bytes] | None] = [*[flipped] * 8, truncated, truncated, None]
    try:
        for damage in damages:
            changed = damage and damage(content)
            file.unlink() if changed is None else file.write_bytes(changed)
            assert main(["verify", "smoke"]) == 1, (damage, changed)
            told = capsys.readouterr().out
            assert file.name.removesuffix(".manifest.json") in told, told
            status, told = audited(capsys, FIGURE)
            assert status == 1 and "BROKEN at " in told, (damage, changed)
            survived("damage")
            file.write_bytes(content)
    finally:
        file.write_bytes(content)
    assert main(["verify", "smoke"]) == 0


def test_all_findings_are_reported_at_once(part, capsys):
    files = [source_of(part, KINDS[kind]) for kind in ("a chunk", "a dataset", "a PNG")]
    contents = [file.read_bytes() for file in files]
    (part / "results" / "smoke" / "stray.txt").touch()
    try:
        for file in files:
            file.unlink()
        assert main(["verify", "smoke"]) == 1
        lines = capsys.readouterr().out.splitlines()
    finally:
        (part / "results" / "smoke" / "stray.txt").unlink()
        for file, content in zip(files, contents, strict=True):
            file.write_bytes(content)
    assert lines[0] == "smoke: 4 findings" and lines[-1].startswith("Remove each damaged output and its manifest")
    assert "  results/smoke/mlp/midpoint.zarr: midpoint.zarr/loss/c/0: missing" in lines
    assert "  results/smoke/stray.txt: has no manifest" in lines


# -- deceit -------------------------------------------------------------------------------------------------------


@pytest.fixture
def forged(part):
    """Writes a manifest anew, with another record and right digests, and mends it afterwards."""
    manifests: dict[Path, bytes] = {}

    def forge(path: Path, **changed) -> None:
        manifests[path] = path.read_bytes()
        manifest = read_manifest(path)
        write_manifest(path, [path.with_name(name) for name in manifest.outputs], manifest.made | changed)

    yield forge
    for path, content in manifests.items():
        path.write_bytes(content)


def test_a_record_rewritten_with_right_digests_is_not_what_was_used(part, capsys, forged):
    forged(part / f"{STORE}.manifest.json", commit="0" * 40)
    assert audited(capsys, STORE)[0] == 0  # nothing that it was made from says otherwise
    status, text = audited(capsys, FIGURE)
    assert status == 1 and f"BROKEN at {FIGURE}, gd-eos.png: {STORE}: made again since\n" in text


def test_a_replaced_input_is_not_what_was_used(part, capsys, forged):
    chunk = part / KINDS["a chunk"]
    content = chunk.read_bytes()
    chunk.write_bytes(b"another")
    try:
        forged(part / f"{STORE}.manifest.json")
        status, text = audited(capsys, FIGURE)
    finally:
        chunk.write_bytes(content)
    assert status == 1 and f"{STORE}: made again since, with other content" in text


@pytest.mark.parametrize("name", [f"{STORE}.manifest.json", "figures/smoke/gd-eos.manifest.json"])
@pytest.mark.parametrize("key, value", [("config", {"run": {}}), ("source_digest", "f00d"), ("inputs", {})])
def test_a_record_that_its_outputs_contradict_is_found(part, forged, name, key, value):
    assert contradictions(read_manifest(part / name)) == []
    forged(part / name, **{key: value})
    assert contradictions(read_manifest(part / name))


def test_a_changed_file_that_data_were_made_from_is_found(part, tmp_path, monkeypatch):
    def dataset() -> Link:
        return trace(part / FIGURE, part / "results").inputs["mlp/discrete"].inputs["dataset"]

    (pin,) = dataset().made["files"].values()
    monkeypatch.setattr(lineage, "REPOSITORY", tmp_path)
    assert dataset().breaks == [f"{pin['path']}: missing"]
    (tmp_path / pin["path"]).parent.mkdir(parents=True)
    (tmp_path / pin["path"]).write_bytes(b"other images")
    assert dataset().breaks == [f"{pin['path']}: changed"]


# -- what has moved on --------------------------------------------------------------------------------------------


def test_software_code_and_configuration_of_today_are_notes(part, capsys, monkeypatch, tmp_path):
    made = read_manifest(part / f"{STORE}.manifest.json").made
    assert list(record_differences.since(made, lambda _: Path(__file__).parents[2] / "config" / "smoke.yaml")) == []
    monkeypatch.setattr(record_differences.environment, "software", lambda: made["software"] | {"torch": "9.9"})
    monkeypatch.setattr(record_differences, "lock_digest", lambda: "another")
    modules = made["modules"] | {"workflow/centralflows/discrete.py": "another"}
    monkeypatch.setattr(record_differences, "module_digests", lambda *_: modules)
    config = tmp_path / "edited.yaml"
    text = (Path(__file__).parents[2] / "config" / "smoke.yaml").read_text()
    config.write_text(text.replace("steps: 90", "steps: 91").replace("gd-eos: {run: mlp}", "gd-eos: {run: cnn}"))
    where = made["configfile"]
    assert sorted(record_differences.since(made, lambda _: config)) == [
        "code: workflow/centralflows/discrete.py was edited",
        f"config: run.steps was 90, is 91 in {where}",
        "software: envs/requirements.lock differs",
        f"software: torch was {made['software']['torch']}, is 9.9",
    ]
    figure = read_manifest(part / "figures/smoke/gd-eos.manifest.json").made
    assert f"config: runs was ['mlp'], is ['cnn'] in {where}" in set(record_differences.since(figure, lambda _: config))
    assert "cannot be read" in list(record_differences.since(figure, lambda _: tmp_path / "gone.yaml"))[-1]
    status, told = audited(capsys, FIGURE)
    assert status == 0 and f"software: torch was {made['software']['torch']}, is 9.9  [4 of 4]" in told


def test_settings_of_today_are_those_of_each_record(part, tmp_path):
    """Every rule's, so that none is forgotten; and what a change of the dataset reaches."""
    smoke = Path(__file__).parents[2] / "config" / "smoke.yaml"
    records = {manifest.name: read_manifest(manifest).made for manifest in part.rglob("*.manifest.json")}
    assert {"dataset", "discrete", "flow", "figure_gd_eos"} <= {made["rule"] for made in records.values()}
    for made in records.values():
        assert record_differences.configured(made, load(smoke)) == made["config"]
    edited = tmp_path / "edited.yaml"
    edited.write_text(smoke.read_text().replace("examples: 100", "examples: 60"))
    reset = {made["rule"] for made in records.values() if any(record_differences.reset(made, load(edited)))}
    assert reset == {"dataset", "discrete", "flow"}


# -- differences --------------------------------------------------------------------------------------------------


def test_a_profile_does_not_differ_from_itself(part, capsys):
    assert main(["diff", "smoke", "results/smoke"]) == 0
    head, total = capsys.readouterr().out.splitlines()
    assert head == "results/smoke | results/smoke" and total.startswith("  numbers: those of 6 of 6 outputs")


def test_a_profile_with_another_store_differs_in_it(part, capsys, tmp_path):
    other = shutil.copytree(part / "results" / "smoke" / "mlp", tmp_path / "mlp")
    shutil.rmtree(other / "stable.zarr")
    shutil.copytree(other / "central.zarr", other / "stable.zarr")
    record = read_manifest(other / "stable.zarr.manifest.json").made
    write_manifest(other / "stable.zarr.manifest.json", [other / "stable.zarr"], record | {"lock": "another"})
    assert main(["diff", "results/smoke/mlp", str(other)]) == 1
    told = capsys.readouterr().out.splitlines()
    assert any(line.startswith("  software: lock ") and line.endswith(" | another  [stable.zarr]") for line in told)
    assert any(line.startswith("  stable.zarr: ") and "quantities differ, most of all" in line for line in told)
    assert told[-1] == "  numbers: those of 3 of 4 outputs that both have are the same"


def test_differences_of_two_stores_are_named(part, capsys):
    stores = [f"results/smoke/mlp/{flow}.zarr" for flow in ("stable", "central")]
    assert main(["diff", *stores]) == 1
    told = capsys.readouterr().out
    assert "  config: run.stable" in told and "  config: run.central" in told
    assert "  numbers: loss: " in told and "from step 1 on" in told
    assert "software: torch" not in told
    flows = "code: workflow/centralflows/flows"  # one script made both, with the code of each flow
    assert f"  {flows}/stable_flow.py in the first alone" in told and f"  {flows}/central_flow.py in the second" in told
    assert "differs" not in "".join(line for line in told.splitlines() if "code: " in line)
    assert main(["diff", stores[0], stores[0]]) == 0
    assert main(["diff", stores[0], "nowhere"]) == 1
