"""The workflow after a crash, a full disk, a divergence: it says what is wrong, publishes nothing half, and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from calls import command, environment, snakemake

from centralflows.common.hashing import canonical, source_digest
from centralflows.jobs import job
from centralflows.jobs.concurrent_calls import Overtaken, announce, attend
from centralflows.jobs.lock import Lock, Locked
from centralflows.provenance import manifest
from centralflows.store.trajectory import open_trajectory

RUN = {
    "dataset": {"name": "moons", "examples": 40, "test_examples": 8},
    "model": {"name": "mlp", "width": 6},
    "optimizer": {"name": "gd", "lr": 0.3},
    "processes": ["discrete", "central"],
    "average_width": 4,
}


def configured(folder: Path, **runs: dict) -> Path:
    path = folder / "config.yaml"
    figures = {"gd-eos": {"run": next(iter(runs))}}
    path.write_text(yaml.safe_dump({"profile": "crash", "device": "cpu", "runs": runs, "figures": figures}))
    return path


def files(folder: Path) -> dict[str, bytes]:
    found = (file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in found if not f.name.endswith(".manifest.json")}


def crash(folder: Path, config: Path, *, at: str) -> None:
    """Start the workflow, and kill Snakemake and all its jobs once a file of that name is there."""
    process = subprocess.Popen(
        command(folder, config=config),
        env=environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not list(folder.glob(at)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_after_a_crash_the_same_command_continues(tmp_path):
    config = configured(tmp_path, a=RUN | {"steps": 300})
    (tmp_path / "unbroken").mkdir()
    assert snakemake(tmp_path / "unbroken", config=config).returncode == 0
    folder = tmp_path / "crashed"
    folder.mkdir()
    crash(folder, config, at="results/crash/a/.discrete.zarr-*.partial/progress.json")
    assert list((folder / ".snakemake" / "locks").iterdir())
    crash(folder, config, at="results/crash/a/.discrete.zarr-*.done")  # published, but Snakemake does not know
    again = (folder / "logs" / "crash" / "a" / "discrete.log").read_text()
    crash(folder, config, at="results/crash/a/.central.zarr-*.partial/progress.json")
    assert "resumes at step 256" in again
    assert "resumes at step 256" in (folder / "logs" / "crash" / "a" / "discrete.log").read_text()
    done = snakemake(folder, config=config)
    assert done.returncode == 0, done.stderr
    log = (folder / "logs" / "crash" / "a" / "central.log").read_text()
    assert "resumes at step" in log and "started this job and did not finish it" in log
    for part in ("results", "figures"):
        assert files(folder / part) == files(tmp_path / "unbroken" / part)
    assert not list((folder / "results" / "crash" / "a").glob(".*.zarr*"))
    manifest = json.loads((folder / "results" / "crash" / "a" / "central.zarr.manifest.json").read_text())
    assert manifest["made"]["resumed"] >= 256


def test_locks_of_the_living_stay(tmp_path):
    folder = tmp_path / ".snakemake"
    (folder / "locks").mkdir(parents=True)
    lock = folder / "locks" / "0.input.lock"
    lock.touch()
    first = attend(folder)
    assert not lock.exists()
    lock.touch()
    with attend(folder):
        assert lock.exists()
    first.close()
    attend(folder).close()
    assert not lock.exists()


def test_a_second_call_is_refused_what_the_first_makes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    began = time.time() - 10
    both = rf"^a.zarr: process {os.getpid()} on .* and 1 more; process {os.getpid()} on"
    calls = tmp_path / "calls"

    def call(*outputs: str) -> None:
        with announce(calls, outputs, since=began):
            pass

    with announce(calls, ["a.zarr", "b.zarr"], since=began), pytest.raises(Locked, match=both):
        call("b.zarr", "a.zarr", "c.zarr")
    Path("a.zarr").mkdir()
    with pytest.raises(Overtaken, match=r"^a.zarr: "):
        call("a.zarr")
    with announce(calls, ["a.zarr"], since=time.time() + 10):
        assert list(calls.glob("*.json"))
    assert not list(calls.glob("*.json"))


def test_a_plan_of_the_dead_is_forgotten(tmp_path):
    child = os.fork()
    if child == 0:
        held = announce(tmp_path, ["a.zarr"], since=time.time())
        held.__enter__()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert [json.loads(plan.read_text())["pid"] for plan in tmp_path.glob("*.json")] == [child]
    with announce(tmp_path, ["a.zarr"], since=time.time()):
        assert [json.loads(plan.read_text())["pid"] for plan in tmp_path.glob("*.json")] == [os.getpid()]


def test_a_second_writer_is_refused_with_both_named(tmp_path):
    output = tmp_path / "x.zarr"
    with Lock(output), pytest.raises(Locked, match=rf"process {os.getpid()} on .* is writing .* process {os.getpid()}"):
        Lock(output).__enter__()
    with Lock(output) as lock:  # it is free again
        assert lock.left is None


def test_a_lock_of_the_dead_is_free(tmp_path):
    child = os.fork()
    if child == 0:
        Lock(tmp_path / "x.zarr").__enter__()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with Lock(tmp_path / "x.zarr") as lock:
        assert lock.left["pid"] == child


def fake_job(folder: Path) -> SimpleNamespace:
    """What Snakemake hands to the script of rule `flow`."""
    source = source_digest(manifest.script_of("flow"))
    return SimpleNamespace(
        output=[str(folder / "x.zarr")],
        log=[str(folder / "x.log")],
        rule="flow",
        params=SimpleNamespace(cfg=canonical({}), source=source),
    )


def test_a_job_that_is_refused_leaves_the_log_of_the_other(tmp_path, capsys):
    with job.job(fake_job(tmp_path)) as first:
        print("working", file=first.log)
        with pytest.raises(SystemExit) as refused, job.job(fake_job(tmp_path)):
            raise AssertionError
        assert refused.value.code == 1
    assert (tmp_path / "x.log").read_text() == "working\n"
    assert "Locked: " in capsys.readouterr().err


def test_a_full_disk_is_one_message_and_nothing_half(tmp_path):
    """Files may not grow beyond 20 kB, as under a quota; once they may, the same command finishes."""
    config = configured(tmp_path, a=RUN | {"steps": 300})
    limited = ["bash", "-c", 'ulimit -f 20; exec "$@"', "limited", *command(tmp_path, config=config)]
    done = subprocess.run(limited, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    logs = "".join(log.read_text() for log in (tmp_path / "logs").rglob("*.log"))
    assert "OSError: [Errno 27] File too large" in logs and "Traceback" not in logs
    for store in (tmp_path / "results" / "crash" / "a").glob("[!.]*.zarr"):
        manifest.verify_manifest(manifest.manifest_path(store))  # what is there is whole
    assert not (tmp_path / "results" / "crash" / "a" / "discrete.zarr").exists()
    assert snakemake(tmp_path, config=config).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a read-only folder, which takes root")
def test_a_read_only_folder_is_one_message(tmp_path):
    config = configured(tmp_path, a=RUN | {"steps": 20})
    (tmp_path / "results").mkdir()
    mounted = ["mount", "--bind", "-o", "ro", str(tmp_path / "results"), str(tmp_path / "results")]
    done = subprocess.run(mounted, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount: {done.stderr.strip()}")
    try:
        done = snakemake(tmp_path, config=config)
        assert done.returncode != 0 and "Read-only file system" in done.stderr
    finally:
        subprocess.run(["umount", str(tmp_path / "results")], check=True)


DIVERGING = RUN | {"optimizer": {"name": "gd", "lr": 50.0}, "steps": 200, "processes": ["discrete"]}


def test_a_diverging_run_keeps_what_was_finite(tmp_path):
    config = configured(tmp_path, a=DIVERGING)
    done = snakemake(tmp_path, config=config)
    assert done.returncode != 0
    kept = open_trajectory(tmp_path / "results" / "crash" / "a" / "discrete.diverged.zarr")
    step = kept.attrs["diverged"]
    assert np.isfinite(kept.loss[:step]).all() and np.isnan(kept.loss[step:]).all()
    assert f"step {step}" in done.stderr and "discrete.diverged.zarr" in done.stderr
    assert not (tmp_path / "results" / "crash" / "a" / "discrete.zarr").exists()


def test_a_grid_may_go_on_past_divergence(tmp_path):
    config = configured(tmp_path, a=DIVERGING | {"on_divergence": "truncate"}, b=RUN | {"steps": 30})
    done = snakemake(tmp_path, config=config)
    assert done.returncode == 0, done.stderr
    stored = open_trajectory(tmp_path / "results" / "crash" / "a" / "discrete.zarr")
    said = f"diverged at step {stored.attrs['diverged']}"
    assert stored.attrs["stopped"].startswith(said)
    assert said in (tmp_path / "figures" / "crash" / "gd-eos.svg").read_text()
    card = json.loads((tmp_path / "results" / "crash" / "scorecard.json").read_text())
    assert card["diverged"].keys() == {"a"}
    page = (tmp_path / "figures" / "crash" / "README.md").read_text()
    assert f"a diverged at step {card['diverged']['a']}" in page
    assert np.isfinite(stored.loss.values[: stored.attrs["diverged"]]).all()
