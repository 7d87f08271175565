"""Several calls of the workflow at once: nothing is lost, nothing is mixed, and the bytes are those of one call alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import yaml
from calls import ROOT

from centralflows.__main__ import main
from centralflows.config.profile import load
from centralflows.problems.data.make_dataset import make_dataset
from centralflows.provenance import manifest

TINY = {
    "device": "cpu",
    "defaults": {
        "dataset": {"name": "moons", "examples": 20, "test_examples": 8},
        "model": {"name": "mlp", "width": 4},
        "optimizer": {"name": "gd", "lr": 0.1},
        "steps": 12,
        "processes": ["discrete"],
    },
}
PATIENCE = 180  # seconds that a refused call is started again for, as its message says
# Snakemake removes the folder of all locks at the end of a call, perhaps just before another call writes its own there.
LOCKS_REMOVED = re.compile(r"FileNotFoundError: .*/\.snakemake/locks/\d+\.(in|out)put\.lock'\s*$")


def configured(folder: Path, profile: str, runs: dict, **more) -> Path:
    file = folder / f"{profile}.yaml"
    file.write_text(yaml.safe_dump(TINY | {"profile": profile, "runs": runs} | more))
    return file


def call(checkout: Path, folder: Path, config: Path, *targets: str, cores: int) -> subprocess.CompletedProcess:
    """The workflow of a checkout, in a folder of its own."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        *targets,
        "--snakefile",
        str(checkout / "Snakefile"),
        "--directory",
        str(folder),
    ]
    command += ["--cores", str(cores), "--configfile", str(config), "--rerun-incomplete"]
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(checkout / "workflow"),
    }
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=checkout)


def products(folder: Path) -> dict[str, bytes]:
    """Stores, data and pictures below a folder, by what they are called in it."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not file.name.endswith(".manifest.json")
        if file.name != ".snakemake_timestamp" and file.parent.name != ".calls"
    }


def test_two_checkouts_two_profiles_and_one_results_folder(tmp_path, monkeypatch, capsys):
    """Both checkouts draw a figure of `one` into the same folder while the first draws that of `two`, of the same run."""
    figures = {"gd-eos": {"run": "a"}}
    one, two = (configured(tmp_path, profile, {"a": {}}, figures=figures) for profile in ("one", "two"))
    second = tmp_path / "checkout"
    second.mkdir()
    for part in ("workflow", "profiles", "config", "envs"):
        shutil.copytree(ROOT / part, second / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("Snakefile", "pyproject.toml"):
        shutil.copy(ROOT / part, second)
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    for shared in ("results", "figures"):
        (here / shared).mkdir()
        (there / shared).symlink_to(here / shared)

    def until_done(checkout: Path, folder: Path, config: Path) -> list[str]:
        """What it said, each time that it was refused by this project."""
        refused: list[str] = []
        deadline = time.monotonic() + PATIENCE
        while (done := call(checkout, folder, config, "figure_gd_eos", cores=2)).returncode:
            said = done.stdout + done.stderr
            if not LOCKS_REMOVED.search(said):
                refused.append(said)
            assert time.monotonic() < deadline, said
        return refused

    with ThreadPoolExecutor(3) as pool:
        calls = [(ROOT, here, one), (second, there, one), (ROOT, here, two)]
        first, other, alone = pool.map(lambda arguments: until_done(*arguments), calls)
    assert alone == []
    for text in first + other:  # refused before anything was removed or made, and for no other reason
        assert ("does not. Wait until it ends" in text) or ("meanwhile; start again" in text), text
        assert "Traceback" not in text
    monkeypatch.chdir(here)
    for profile in ("one", "two"):
        assert main(["verify", profile]) == 0, capsys.readouterr().out
    for kind in ("results", "figures"):
        mixed, unmixed = products(here / kind / "one"), products(here / kind / "two")
        names = [name for name in unmixed if name.endswith((".svg", ".png", ".npz")) or ".zarr/" in name]
        assert len(names) > 1  # in figures, the two forms of one
        assert [name for name in names if mixed.get(name) != unmixed[name]] == []
        assert mixed.keys() == unmixed.keys()


def test_sixteen_jobs_at_once_mix_nothing(tmp_path):
    """Those that need no torch, so that the test is short; which example goes where could be mixed in any."""
    runs = {f"r{n}": {"dataset": {"name": "moons", "seed": n}} for n in range(16)}
    config = configured(tmp_path, "sixteen", runs)
    done = call(ROOT, tmp_path, config, "--until", "dataset", cores=16)
    assert done.returncode == 0, done.stderr
    files = list((tmp_path / "results" / "sixteen" / "datasets").glob("*.npz"))
    found = {np.load(file, allow_pickle=False)["inputs"].tobytes() for file in files}
    assert len(files) == 16
    assert found == {make_dataset(run.dataset, {}).inputs.tobytes() for run in load(config).runs.values()}
    for file in files:
        manifest.verify_manifest(manifest.manifest_path(file))
