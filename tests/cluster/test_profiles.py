"""The smoke profile by way of a real SLURM: submitted, cancelled, requeued, and the same bytes in the end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from calls import products
from slurm import jobs
from submissions import said, start, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture(scope="module")
def generic(cluster, python, tmp_path_factory) -> Path:
    """Built by the generic profile, with nothing that disturbs it."""
    folder = tmp_path_factory.mktemp("generic")
    assert start(python, folder, "generic").wait(timeout=600) == 0, said(folder)
    return folder


def test_the_generic_profile_submits_what_is_long_and_groups_what_is_short(generic):
    ours = jobs(generic)
    assert [job["JobState"] for job in ours] == ["COMPLETED"] * 3
    assert sorted(job["JobName"] for job in ours) == ["discrete", "flow", "short_discrete_flow"]
    assert {(job["TresPerNode"], job["NumCPUs"], job["MinMemoryNode"]) for job in ours} == {
        ("gres:gpu:1", "1", "4000M")
    }
    assert (generic / "figures" / "smoke" / "scalar-rmsprop-lr-acceleration.svg").exists()


def test_cancelled_and_requeued_jobs_end_in_the_same_bytes(python, generic, tmp_path):
    # Each while one of its trajectories is under way, in whatever order SLURM starts them.
    left = {
        "short": (tmp_path / "logs" / "smoke" / "scalar" / "central.log", ["scancel"]),
        "discrete": (tmp_path / "logs" / "smoke" / "rmsprop" / "discrete.log", ["scontrol", "requeue"]),
    }

    def disturbed() -> bool:
        for rule, (log, command) in list(left.items()):
            if log.exists():
                (job,) = of(rule, tmp_path)
                subprocess.run([*command, job["JobId"]], check=True)
                del left[rule]
        return not left

    process = start(python, tmp_path, "slurm", "--slurm-init-seconds-before-status-checks", "5")
    try:
        wait_for(disturbed, process)
        assert process.wait(timeout=600) == 0, said(tmp_path)
    finally:
        process.kill()
    again, cancelled = of("short", tmp_path)
    assert (cancelled["JobState"], again["JobState"]) == ("CANCELLED", "COMPLETED")
    assert (cancelled["MinMemoryNode"], again["MinMemoryNode"]) == ("4000M", "8000M")
    assert again["TresPerJob"] == "gres:gpu:1"
    (requeued,) = of("discrete", tmp_path)
    assert (requeued["JobState"], requeued["Restarts"]) == ("COMPLETED", "1")
    expected, found = products(generic), products(tmp_path)
    assert expected.keys() == found.keys() and len(found) > 50
    assert [name for name in found if found[name] != expected[name]] == []


@pytest.mark.skipif(
    os.environ.get("CENTRALFLOWS_CLUSTER") != "all", reason="takes minutes; set CENTRALFLOWS_CLUSTER=all"
)
def test_the_whole_smoke_profile(python, generic, tmp_path):
    assert start(python, tmp_path, "slurm", targets=()).wait(timeout=1800) == 0, said(tmp_path)
    assert (tmp_path / "figures" / "smoke" / "README.md").exists()
    found = products(tmp_path)
    assert {name: found.get(name) for name in products(generic)} == products(generic)


def of(rule: str, folder: Path) -> list[dict[str, str]]:
    """Jobs that the executor submitted from a folder for a rule or a group."""
    return [job for job in jobs(folder) if job["Comment"].startswith(f"rule_{rule}")]
