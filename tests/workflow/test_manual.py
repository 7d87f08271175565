"""The network, dataset and criterion of the manual, from its text to a figure; and what a change of their code makes again."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from calls import ROOT, snakemake

from centralflows.store.trajectory import open_trajectory

TRAJECTORIES = ("discrete", "midpoint", "stable", "central")


def extracted(folder: Path) -> Path:
    """The example of the manual, written into a folder; its configuration."""
    section = (ROOT / "config" / "README.md").read_text().partition("## Your own network")[2].partition("\n## ")[0]
    for language, name in (("python", "mine.py"), ("yaml", "mine.yaml")):
        (text,) = re.findall(rf"^```{language}\n(.*?)^```$", section, flags=re.M | re.S)
        (folder / name).write_text(text)
    return folder / "mine.yaml"


def planned(folder: Path, *arguments: str) -> dict[str, int]:
    """The jobs that a call would run, by rule."""
    done = snakemake(folder, "--dry-run", "--quiet", "rules", *arguments, config=folder / "mine.yaml")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in (done.stdout + done.stderr).splitlines()]
    counts = {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdigit()}
    return {rule: count for rule, count in counts.items() if count}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("manual")
    done = snakemake(folder, config=extracted(folder))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def copy(built, tmp_path) -> Path:
    """`copytree` keeps modification times, so nothing in the copy is out of date."""
    return shutil.copytree(built, tmp_path / "copy", symlinks=True)


def test_the_example_of_the_manual_runs_to_its_figure(built):
    assert (built / "figures" / "mine" / "gd-central-flow.svg").stat().st_size > 10_000
    stores = {name: open_trajectory(built / "results" / "mine" / "wave" / f"{name}.zarr") for name in TRAJECTORIES}
    assert all(bool(store.loss.notnull().all()) and store.sizes["step"] == 60 for store in stores.values())
    central = stores["central"]
    assert abs(float(central.effective_eigenvalues[-1, 0]) - 2) < 0.01 and int(central["rank"][-1]) > 0
    assert "accuracy" not in central  # these labels are no classes


def test_a_change_of_code_makes_again_what_depends_on_it_and_one_of_prose_nothing(copy):
    module = copy / "mine.py"
    text = module.read_text()
    module.write_text(text.replace("    def forward", "    # tanh is smooth\n    def forward"))
    assert planned(copy) == {}
    module.write_text(text.replace("torch.tanh", "torch.sin"))
    once = ("dataset", "discrete", "figure_gd_central_flow", "film_gd_central_flow", "scorecard", "explorer")
    once = (*once, "gallery", "all")
    assert planned(copy) == dict.fromkeys(once, 1) | {"flow": 2, "total": 10}


def test_code_of_the_dataset_alone_is_that_of_its_module(tmp_path):
    config = extracted(tmp_path)
    shutil.copy(tmp_path / "mine.py", tmp_path / "data_of_mine.py")
    config.write_text(config.read_text().replace("mine:wave", "data_of_mine:wave"))
    done = snakemake(tmp_path, "--until", "dataset", config=config)
    assert done.returncode == 0, done.stderr
    for module, change, jobs in (
        ("mine.py", ("torch.tanh", "torch.sin"), {}),
        ("data_of_mine.py", ("2 * x", "3 * x"), {"dataset": 1, "total": 1}),
    ):
        file = tmp_path / module
        file.write_text(file.read_text().replace(*change))
        assert planned(tmp_path, "--until", "dataset") == jobs


def test_mistakes_of_plugins_are_one_message_before_any_job(tmp_path):
    config = extracted(tmp_path)
    text = config.read_text().replace("width: 16", "widht: 16").replace("mine:wave", "mine:wav")
    config.write_text(
        text.replace("mine:pseudo_huber", "mine:huber").replace("{name: gd, lr: 0.8}", '{name: "mine:Net", lr: 1}')
    )
    done = snakemake(tmp_path, config=config)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    head, *lines, foot = done.stderr[done.stderr.index("ConfigError: ") :].splitlines()[:5]
    assert re.fullmatch(r"ConfigError: .*mine.yaml has 3 errors", head)
    assert [line.partition(": ")[0] for line in lines] == [
        f"  runs.wave.{key}" for key in ("optimizer", "dataset", "criterion")
    ]
    assert foot == "Every key is described in config/README.md."
    assert not (tmp_path / "results").exists()
