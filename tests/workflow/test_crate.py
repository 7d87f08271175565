"""The crate of a profile, held against the profiles that it claims by an independent validator."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import rocrate
from calls import ROOT, snakemake
from rocrate_validator import services
from rocrate_validator.utils.http import HttpRequester

from centralflows.provenance.manifest import verify_manifest

PROFILES = (
    "ro-crate-1.1",
    "workflow-ro-crate-1.0",
    "provenance-run-crate-0.5",
)  # the last includes process and workflow run


@pytest.fixture(scope="module")
def crate(built, tmp_path_factory) -> Path:
    folder = shutil.copytree(built, tmp_path_factory.mktemp("crate") / "copy", symlinks=True)
    done = snakemake(folder, targets=["crate"])
    assert done.returncode == 0, done.stderr
    return folder / "results" / "smoke"


@pytest.fixture(scope="module")
def entities(crate) -> dict[str, dict]:
    graph = json.loads((crate / "ro-crate-metadata.json").read_text())["@graph"]
    return {entity["@id"]: entity for entity in graph}


@pytest.fixture
def offline(monkeypatch):
    """Answers the validator's one request, for the JSON-LD context of RO-Crate 1.1, from the copy in rocrate.

    That copy is newer, and bioschemas has moved the address of its terms since.
    """
    file = Path(rocrate.__file__).parent / "data" / "ro-crate.jsonld"
    text = file.read_text().replace("https://bioschemas.org/terms/", "https://bioschemas.org/")

    def get(self, url: str, **options) -> SimpleNamespace:
        assert url == "https://w3id.org/ro/crate/1.1/context"
        headers = {"Content-Type": "application/ld+json"}
        return SimpleNamespace(status_code=200, headers=headers, text=text, json=lambda: json.loads(text))

    monkeypatch.setattr(HttpRequester, "get", get, raising=False)


def faults(crate: Path, profile: str, cache: Path) -> list[str]:
    """What the validator finds wrong."""
    settings = services.ValidationSettings(
        rocrate_uri=str(crate), profile_identifier=profile, offline=True, cache_path=cache / "http"
    )
    return [str(issue.message) for issue in services.validate(settings).get_issues()]


@pytest.mark.parametrize("profile", PROFILES)
def test_it_is_what_it_claims_to_be(crate, offline, tmp_path, profile):
    assert faults(crate, profile, tmp_path) == []


def test_the_validator_finds_what_is_missing(crate, offline, tmp_path):
    metadata = json.loads((crate / "ro-crate-metadata.json").read_text())
    metadata["@graph"] = [e for e in metadata["@graph"] if e["@type"] != "OrganizeAction"]
    for entity in metadata["@graph"]:
        if entity["@type"] == "ControlAction":
            del entity["instrument"]
    (tmp_path / "ro-crate-metadata.json").write_text(json.dumps(metadata))
    for name in crate.iterdir():
        if name.name != "ro-crate-metadata.json":
            (tmp_path / name.name).symlink_to(name)
    assert any("ControlAction" in fault for fault in faults(tmp_path, PROFILES[-1], tmp_path))


def test_files_in_it_have_the_digests_that_it_lists(crate, entities):
    listed = {name: entity["sha256"] for name, entity in entities.items() if "sha256" in entity and name[0] != "#"}
    assert len(listed) > 80 and sum(name.endswith(".svg") for name in listed) > 40
    for name, digest in listed.items():
        assert hashlib.sha256((crate / name).read_bytes()).hexdigest() == digest, name
    verify_manifest(crate / "ro-crate-metadata.json.manifest.json")


def test_every_store_is_the_result_of_an_action_on_its_inputs(crate, entities):
    results = {
        item["@id"]: entity
        for entity in entities.values()
        if entity["@type"] == "CreateAction" and entity["@id"] != "#run"
        for item in (entity["result"] if isinstance(entity["result"], list) else [entity["result"]])
    }
    stores = {f"{store.relative_to(crate).as_posix()}/" for store in crate.glob("*/*.zarr")}
    assert stores <= results.keys()
    central = results["mlp/central.zarr/"]
    used = {item["@id"] for item in central["object"]}
    assert "mlp/discrete.zarr/" in used and any(name.startswith("datasets/cifar10-") for name in used)
    (config,) = (entities[name] for name in used if name.startswith("#config-"))
    assert json.loads(config["value"])["run"]["steps"] == 90
    assert central["instrument"]["@id"] == "ro_crate/source/workflow/scripts/flow.py"
    assert central["startTime"] < central["endTime"]


def test_it_cites_the_paper_the_data_and_the_software(entities):
    cited = {entities[item["@id"]]["name"] for item in entities["./"]["citation"]}
    assert "Understanding Optimization in Deep Learning with Central Flows" in cited
    assert "Learning Multiple Layers of Features from Tiny Images" in cited
    assert "Sustainable data analysis with Snakemake" in cited and any(name.startswith("PyTorch 2") for name in cited)
    images = next(entity for name, entity in entities.items() if name.startswith("datasets/cifar10-"))
    assert "krizhevsky" in images["isBasedOn"].lower() and "ask for a citation" in images["license"]


def test_the_workflow_in_it_is_complete(crate):
    copied, own = crate / "ro_crate" / "source", ROOT / "workflow"
    kinds = ("*.py", "*.smk", "*.rst", "*.npz", "*.json")
    names = {file.relative_to(ROOT) for kind in kinds for file in own.rglob(kind)} | {Path("Snakefile")}
    assert len(names) > 100
    assert [name for name in names if (copied / name).read_bytes() != (ROOT / name).read_bytes()] == []
    assert not list(copied.rglob("__pycache__"))
