"""Trajectory jobs that are killed go on, and end with the bytes of an unbroken run.

A job is killed when it touches the file system for the n-th time, n drawn from a seed: in the middle of a chunk, of a
commit, of publication. `CENTRALFLOWS_KILLS=500` kills so many more.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import victims

from centralflows.jobs import checkpoint
from centralflows.jobs.checkpoint_contents import forget
from centralflows.store.trajectory import open_trajectory

PROCESSES = ("discrete", *victims.FLOWS)
KILLS = int(os.environ.get("CENTRALFLOWS_KILLS", 0))
LIVES = 3  # kills of one job, one after another


@pytest.fixture(scope="module")
def experiment():
    made = victims.experiment()
    made.start  # noqa: B018 (found once, before all forks)
    return made


@pytest.fixture(scope="module")
def unbroken(experiment, tmp_path_factory):
    """Stores of all processes, and how often each touched the file system."""
    folder, touched = tmp_path_factory.mktemp("unbroken"), {}
    for process in PROCESSES:
        status, touched[process] = victims.run(lambda process=process: victims.store(experiment, process, folder))
        assert status == 0
    return folder, touched


def files(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def prepared(folder: Path, unbroken: Path, process: str) -> Path:
    """A folder in which a process can run: flows begin from the discrete store."""
    folder.mkdir()
    if process != "discrete":
        shutil.copytree(unbroken / "discrete.zarr", folder / "discrete.zarr")
    return folder


def test_the_unbroken_run_is_at_the_edge(unbroken):
    folder, touched = unbroken
    for process in ("central", "ablated", "stationary"):
        assert open_trajectory(folder / f"{process}.zarr").critical_modes.max() >= 1
    assert min(touched.values()) > 100
    for name in ("discrete", *PROCESSES):
        forget(folder / f"{name}.zarr")
    assert not list(folder.glob(".*"))  # no checkpoint folder is left


@pytest.mark.parametrize("seed", range(2 + KILLS // (LIVES * len(PROCESSES))))
@pytest.mark.parametrize("process", PROCESSES)
def test_a_killed_job_ends_with_the_same_bytes(experiment, unbroken, tmp_path, survived, process, seed):
    expected, touched = unbroken
    folder, counter, draw = prepared(tmp_path / "run", expected, process), tmp_path / "steps", random.Random(seed)
    work = lambda: victims.store(experiment, process, folder, counter)  # noqa: E731
    killed = 0
    for _ in range(LIVES):
        status, _ = victims.run(work, killed_at=draw.randint(1, touched[process]))
        assert status in (0, -signal.SIGKILL)
        killed += status != 0
    assert victims.run(work)[0] == 0
    for name in ("discrete.zarr", "midpoint.zarr") if process == "discrete" else (f"{process}.zarr",):
        assert files(folder / name) == files(expected / name)
    assert len(list(folder.glob(".*"))) == 1  # kept until somebody knows of the outputs
    assert len(counter.read_bytes()) - victims.STEPS <= LIVES * victims.SEGMENT
    for _ in range(killed):
        survived("kill")


def test_a_job_told_to_stop_keeps_what_it_has(experiment, unbroken, tmp_path):
    expected, _ = unbroken
    folder, counter = prepared(tmp_path / "run", expected, "central"), tmp_path / "steps"
    child = os.fork()
    if child == 0:
        try:
            victims.store(experiment, "central", folder, counter)
        except BaseException as error:
            os._exit(128 + getattr(error, "number", 0))
        os._exit(0)
    deadline = time.monotonic() + 60
    while not (counter.exists() and len(counter.read_bytes()) >= victims.SEGMENT + 3):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    told = time.monotonic()
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    assert time.monotonic() - told < 10
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGTERM
    before = len(counter.read_bytes())
    assert victims.run(lambda: victims.store(experiment, "central", folder, counter))[0] == 0
    assert len(counter.read_bytes()) <= victims.STEPS + 1  # the step that was under way is repeated
    assert before < victims.STEPS
    assert files(folder / "central.zarr") == files(expected / "central.zarr")


@pytest.fixture
def interrupted(experiment, unbroken, tmp_path):
    """A folder with a killed central flow, some segments of it committed."""
    expected, touched = unbroken
    folder = prepared(tmp_path / "run", expected, "central")
    status, _ = victims.run(
        lambda: victims.store(experiment, "central", folder), killed_at=int(0.7 * touched["central"])
    )
    assert status == -signal.SIGKILL
    (partial,) = folder.glob(".central.zarr-*.partial")
    assert (partial / checkpoint.PROGRESS).is_file()
    return folder, partial


def test_damage_to_what_was_committed_is_found(experiment, unbroken, interrupted, survived):
    """A flipped bit in any file begins the run anew, and says which file it was."""
    folder, partial = interrupted
    whole = folder.with_name("whole")
    shutil.copytree(folder, whole)
    draw = random.Random(0)
    names = [file.relative_to(folder) for file in partial.rglob("*") if file.is_file()]
    for name in draw.sample(names, 12) + [
        name for name in names if name.name.startswith((checkpoint.PROGRESS, "content"))
    ]:
        shutil.rmtree(folder)
        shutil.copytree(whole, folder)
        file = folder / name
        content = bytearray(file.read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        file.write_bytes(content)
        (folder / "log").write_text("")
        stage = checkpoint.CheckpointFolder(folder / "central.zarr", {"config": "central"}, victims.KINDS)
        with pytest.warns(UserWarning, match="damaged, so the run starts again"), stage:
            assert stage.content is None and stage.resumed == 0
        survived("resume")


def test_another_configuration_is_not_taken_up(experiment, interrupted):
    folder, partial = interrupted
    log = (folder / "another.log").open("w+")
    with checkpoint.CheckpointFolder(folder / "central.zarr", {"config": "another"}, victims.KINDS, log) as stage:
        assert stage.content is None and stage.folder != partial
    log.close()
    assert (
        f"ignored, as it belongs to another configuration or source: {partial}" in (folder / "another.log").read_text()
    )
    assert partial.is_dir()
