"""The workflow as a user runs it: from clean, again, broken, and from a wrong configuration."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import xarray as xr
import yaml
from calls import ROOT, SMOKE, products, snakemake

from centralflows.config.catalogue import CATALOGUE
from centralflows.provenance import manifest
from centralflows.store.trajectory import PROCESSES, VARIABLES, open_trajectory

RUNS = ("mlp", "cnn", "transformer")


@pytest.fixture
def copy(built, tmp_path) -> Path:
    """A built folder to break. `copytree` keeps modification times, so nothing in it is out of date."""
    return shutil.copytree(built, tmp_path / "copy", symlinks=True)


def test_two_builds_are_byte_identical(built, tmp_path):
    """Though another number of jobs runs at once, and so in another order."""
    assert snakemake(tmp_path, "--cores", "4").returncode == 0
    first, second = products(built), products(tmp_path)
    assert first.keys() == second.keys() and len(first) > 100
    assert [name for name in first if first[name] != second[name]] == []


def test_a_second_call_has_nothing_to_do(built):
    done = snakemake(built)
    assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr


def test_every_trajectory_opens_with_units_and_its_config(built):
    for run in RUNS:
        for process in ("discrete", "midpoint", "stable", "central"):
            store = built / "results" / "smoke" / run / f"{process}.zarr"
            manifest.verify_manifest(manifest.manifest_path(store))
            trajectory = open_trajectory(store)
            xr.testing.assert_identical(trajectory, xr.open_zarr(store))
            # Gradient descent has no state, and no weights are followed one by one.
            absent = {"state_total", "state_coordinates", "gradient_squared", "predicted_gradient_squared"}
            assert set(PROCESSES[process]) - absent <= set(trajectory)
            assert all(
                trajectory[name].attrs["units"] and trajectory[name].attrs["long_name"]
                for name in VARIABLES
                if name in trajectory
            )
            config = json.loads(trajectory.attrs["config"])
            assert config["run"]["model"]["name"] == run
            assert "dataset" in json.loads(trajectory.attrs["inputs"])
            assert trajectory.weights.sizes["saved_step"] == config["run"]["steps"] == trajectory.sizes["step"]


def test_the_phenomena_are_there(built):
    central = open_trajectory(built / "results" / "smoke" / "mlp" / "central.zarr")
    stable = open_trajectory(built / "results" / "smoke" / "mlp" / "stable.zarr")
    assert float(abs(central.effective_eigenvalues.isel(mode=0, step=slice(-5, None)) - 2).max()) < 0.01
    assert float(central.distance[-1]) < 0.7 * float(stable.distance[-1])
    assert float(central.complementarity_violation.max()) < 1e-6


def test_a_changed_chunk_never_yields_a_figure(copy):
    chunk = next((copy / "results" / "smoke" / "mlp" / "midpoint.zarr" / "loss").rglob("c/*"))
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    (copy / "figures" / "smoke" / "gd-eos.svg").unlink()
    done = snakemake(copy)
    assert done.returncode != 0
    assert "ManifestError" in done.stderr and "midpoint.zarr/loss/c/0: changed" in done.stderr
    assert not (copy / "figures" / "smoke" / "gd-eos.svg").exists()


def test_only_what_depends_on_a_change_runs_again(built, tmp_path):
    raw = yaml.safe_load(SMOKE.read_text())
    raw["runs"]["cnn"]["central"] = {"substeps": 5}
    changed = tmp_path / "changed.yaml"
    changed.write_text(yaml.safe_dump(raw))
    done = snakemake(built, "--dry-run", "--quiet", "rules", config=changed)
    assert done.returncode == 0, done.stderr
    stats = [line.split() for line in (done.stdout + done.stderr).splitlines()]
    counts = {words[0]: int(words[1]) for words in stats if len(words) == 2 and words[1].isdigit()}
    # The flow, and what is drawn from it or counts it.
    again = ("flow", "figure_gd_loss_zoo", "figure_gd_edge_offset", "scorecard", "explorer", "gallery", "all")
    assert counts == dict.fromkeys(again, 1) | {"total": len(again)}


def test_a_figure_is_rebuilt_alone(copy):
    pictures = [copy / "figures" / "smoke" / f"gd-loss-zoo.{kind}" for kind in ("svg", "png")]
    before = [picture.read_bytes() for picture in pictures]
    pictures[0].unlink()
    done = snakemake(copy, "--quiet", "rules", targets=["figure_gd_loss_zoo"])
    assert done.returncode == 0, done.stderr
    assert [picture.read_bytes() for picture in pictures] == before


def test_the_gallery_shows_every_figure_and_the_claims(built):
    folder = built / "figures" / "smoke"
    markdown, html = ((folder / name).read_text() for name in ("README.md", "index.html"))
    for slug in CATALOGUE:
        assert (folder / f"{slug}.png").stat().st_size < 150_000
        assert (folder / f"{slug}.svg").stat().st_size < 1_000_000
        for page in (markdown, html):
            assert f'<img src="{slug}.png"' in page and f"figure_{slug.replace('-', '_')}" in page
    card = json.loads((built / "results" / "smoke" / "scorecard.json").read_text())
    for name in card["claims"]:
        if any(name in run for run in card["runs"].values()):
            assert f"**{name}**: " in markdown and f"<b>{name}</b>: " in html


def test_runs_are_described_with_the_number_of_their_weights(built):
    described = json.loads((built / "results" / "smoke" / "runs.json").read_text())
    for run in RUNS:
        weights = open_trajectory(built / "results" / "smoke" / run / "discrete.zarr").sizes["parameter"]
        assert f", {weights:,} weights, " in described[run]["problem"]


def broken(tmp_path: Path, **changes) -> Path:
    raw = yaml.safe_load(SMOKE.read_text())
    raw["runs"] = {"mlp": raw["runs"]["mlp"] | changes}
    raw["figures"] = {}
    path = tmp_path / "broken.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def test_accuracies_are_recorded(built):
    for run in RUNS:
        for process in ("discrete", "stable", "central"):
            store = open_trajectory(built / "results" / "smoke" / run / f"{process}.zarr")
            for name in ("accuracy", "test_accuracy"):
                known = store[name].dropna("step")
                assert known.step.values.tolist() == list(range(0, store.sizes["step"], 10))
                assert known.min() >= 0 and known.max() <= 1
    assert "accuracy" not in open_trajectory(built / "results" / "smoke" / "mlp" / "midpoint.zarr")


def test_the_grid_of_the_paper_is_planned_in_seconds(tmp_path):
    began = time.monotonic()
    done = snakemake(tmp_path, "--dry-run", "--quiet", "rules", config=ROOT / "config" / "paper.yaml")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 60  # a few seconds where nothing else runs
    assert re.search(r"^discrete +50$", done.stdout + done.stderr, flags=re.M)


def test_a_diverging_run_says_where_and_publishes_no_store(tmp_path):
    config = broken(tmp_path, optimizer={"name": "gd", "lr": 1e6})
    done = snakemake(tmp_path, config=config)
    assert done.returncode != 0
    assert re.search(r"Diverged: (discrete|midpoint), step \d+: the \w+ (is|are) not finite", done.stderr)
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "results").rglob("*.npz"))  # the data are there
    stores = {path.name for path in (tmp_path / "results").glob("*/*/[!.]*.zarr")}
    assert stores == {"discrete.diverged.zarr", "midpoint.diverged.zarr"}


def test_wrong_keys_are_one_message_before_any_job(tmp_path):
    config = broken(tmp_path, optimzer={"name": "gd", "lr": 1.0}, steps=-3)
    done = snakemake(tmp_path, config=config)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "runs.mlp.optimzer: unknown key; did you mean 'optimizer'?" in done.stderr
    assert "runs.mlp.steps: " in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_missing_dataset_is_one_message(tmp_path):
    config = broken(tmp_path, dataset={"name": "cifar10", "classes": 5, "examples": 50, "test_examples": 10})
    raw = yaml.safe_load(config.read_text()) | {"cifar10_path": str(tmp_path / "nowhere.tar.gz")}
    config.write_text(yaml.safe_dump(raw))
    done = snakemake(tmp_path, config=config)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "nowhere.tar.gz" in done.stderr
    assert not (tmp_path / "results" / "cifar10.npz").exists()


def test_missing_sentences_are_one_message_before_any_job(tmp_path):
    settings = {"dataset": {"name": "sst2", "path": "nowhere"}, "model": {"name": "transformer", "width": 8}}
    done = snakemake(tmp_path, config=broken(tmp_path, **settings))
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "runs.mlp.dataset.path: SST-2: there is no nowhere/train.tsv and no nowhere/dev.tsv; download" in done.stderr
    assert not (tmp_path / "results").exists()


def test_the_workflow_is_linted_and_formatted():
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--lint"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    bin_folder = Path(sys.executable).parent
    for command in (
        ["snakefmt", "--check", "Snakefile", "workflow"],
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
    ):
        done = subprocess.run(
            [bin_folder / command[0], *command[1:]], capture_output=True, text=True, check=False, cwd=ROOT
        )
        assert done.returncode == 0, done.stdout + done.stderr
