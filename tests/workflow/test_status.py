"""What `status` tells of jobs that are done, running, killed, failed and waiting; and what `verify` finds of killed ones."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from calls import ROOT, SMOKE, snakemake

from centralflows.__main__ import main
from centralflows.jobs.checkpoint_contents import PROGRESS

POINTS = {
    "dataset": {"name": "moons", "examples": 20, "test_examples": 8},
    "model": {"name": "mlp", "width": 4},
    "optimizer": {"name": "gd", "lr": 0.05},
    "spectrum": {"minimum": 1},
    "processes": ["discrete", "stable"],
}


def told(capsys, folder: Path, config: Path) -> dict[tuple[str, str], dict]:
    assert main(["status", "--configfile", str(config), "--results", str(folder / "results"), "--json"]) == 0
    return {(status["run"], status["process"]): status for status in json.loads(capsys.readouterr().out)}


def until(condition, seconds: float = 120):
    """What a condition gives, once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    """A long run, one that diverges, and one that is done."""
    runs = {
        "long": POINTS | {"steps": 100_000},
        "wild": POINTS | {"steps": 40, "optimizer": {"name": "gd", "lr": 1e6}},
        "short": POINTS | {"steps": 40, "processes": ["discrete"]},
    }
    file = tmp_path_factory.mktemp("config") / "states.yaml"
    file.write_text(yaml.safe_dump({"profile": "states", "device": "cpu", "runs": runs}))
    return file


@pytest.fixture(scope="module")
def killed(config, tmp_path_factory) -> tuple[Path, dict]:
    """A folder in which the long run was killed, and what was told while it ran."""
    folder = tmp_path_factory.mktemp("states")

    def running() -> dict | None:
        command = [sys.executable, "-m", "centralflows", "status", "--configfile", config, "--json"]
        done = subprocess.run([*command, "--results", folder / "results"], capture_output=True, check=True, cwd=ROOT)
        now = {(status["run"], status["process"]): status for status in json.loads(done.stdout)}
        others = {now["wild", "discrete"]["state"], now["short", "discrete"]["state"]}
        return now if now["long", "discrete"]["rate"] and others == {"failed", "done"} else None

    with ThreadPoolExecutor() as pool:
        done = pool.submit(snakemake, folder, "--keep-going", config=config)
        now = until(running)
        until(lambda: list((folder / "results" / "states" / "long").glob(f".*.partial/{PROGRESS}")))
        os.kill(now["long", "discrete"]["writer"]["pid"], signal.SIGKILL)
    assert done.result().returncode != 0
    return folder, now


def test_a_running_job_tells_its_progress(killed):
    _, now = killed
    running = now["long", "discrete"]
    assert running["state"] == "running" and 0 < running["step"] < running["steps"] == 100_000
    left = (running["steps"] - running["step"]) / running["rate"]
    assert running["seconds_left"] == pytest.approx(left, rel=0.01)  # the rate is told in three digits
    assert now["long", "stable"]["state"] == now["wild", "stable"]["state"] == "waiting"


def test_every_state_is_told(killed, config, capsys):
    folder, _ = killed
    now = told(capsys, folder, config)
    assert {key: status["state"] for key, status in now.items()} == {
        ("long", "discrete"): "interrupted",
        ("long", "stable"): "waiting",
        ("wild", "discrete"): "failed",
        ("wild", "stable"): "waiting",
        ("short", "discrete"): "done",
    }
    assert re.match(r"Diverged: (discrete|midpoint), step \d+: ", now["wild", "discrete"]["note"])
    (progress,) = (folder / "results" / "states" / "long").glob(f".*.partial/{PROGRESS}")
    committed = json.loads(progress.read_bytes())["progress"]["step"]
    assert now["long", "discrete"]["step"] == committed > 0

    assert main(["status", "--configfile", str(config), "--results", str(folder / "results")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(rf"long +discrete +interrupted +at step {committed} of 100000: resumes there", lines[0])
    assert re.fullmatch(r"short +discrete +done +40 steps", lines[2])
    assert lines[-1] == "5 trajectories: 1 done, 1 interrupted, 1 failed, 2 waiting"


def test_what_was_kept_under_other_settings_is_not_gone_on_with(killed, config, capsys, tmp_path):
    changed = tmp_path / "changed.yaml"
    changed.write_text(config.read_text().replace("lr: 0.05", "lr: 0.06"))
    now = told(capsys, killed[0], changed)
    assert now["short", "discrete"]["state"] == "done" and now["short", "discrete"]["note"] == "of other settings"
    assert now["long", "discrete"]["step"] == 0
    assert now["long", "discrete"]["note"].endswith("is of other settings or code; starts again")


def test_damage_to_what_was_kept_is_found(killed, config, capsys, monkeypatch, survived):
    """Every file of a resume folder: a flipped bit, cut short, gone."""
    folder, _ = killed
    monkeypatch.chdir(folder)
    assert main(["verify", "states"]) == 0
    capsys.readouterr()
    (partial,) = (folder / "results" / "states" / "long").glob(".*.partial")
    draw, commit = random.Random(0), json.loads((partial / PROGRESS).read_bytes())["progress"]
    for name in [PROGRESS, commit["arrays"], *commit["files"]]:
        file = partial / name
        content = file.read_bytes()
        flipped = bytearray(content)
        flipped[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        for damaged in (bytes(flipped), content[: draw.randrange(len(content))], None):
            if damaged is None and name == PROGRESS:
                continue  # without it nothing counts as committed
            file.unlink() if damaged is None else file.write_bytes(damaged)
            assert main(["verify", "states"]) == 1
            finding = f"  {partial.relative_to(folder)}: {name}: {'missing' if damaged is None else 'changed'}"
            assert any(line.startswith(finding) for line in capsys.readouterr().out.splitlines())
            survived("damage")
        file.write_bytes(content)
    assert main(["verify", "states"]) == 0


def test_the_status_of_51_runs_takes_less_than_two_seconds(built, tmp_path):
    raw = yaml.safe_load(SMOKE.read_text())
    mlp, names = raw["runs"]["mlp"], [f"mlp-{number:02}" for number in range(51)]
    config = tmp_path / "many.yaml"
    config.write_text(yaml.safe_dump(raw | {"runs": dict.fromkeys(names, mlp), "figures": {}}))
    (tmp_path / "results" / "smoke").mkdir(parents=True)
    for name in names:
        (tmp_path / "results" / "smoke" / name).symlink_to(built / "results" / "smoke" / "mlp")
    command = [sys.executable, "-m", "centralflows", "status", "--configfile", "many.yaml"]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert time.monotonic() - began < 2 * max(1, os.getloadavg()[0] / os.cpu_count())
    assert done.stdout.splitlines()[-1] == "153 trajectories: 153 done"


def test_a_profile_without_a_file_is_one_message(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["status", "nothing"]) == 1
    assert "there is no config/nothing.yaml; name the profile's file as --configfile" in capsys.readouterr().err
    (tmp_path / "wrong.yaml").write_text("profile: wrong\nrunz: {}\n")
    assert main(["status", "--configfile", "wrong.yaml"]) == 1
    assert "runz: unknown key; did you mean 'runs'?" in capsys.readouterr().err
