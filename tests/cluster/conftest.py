"""A real SLURM, and an environment with Snakemake's executors."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest
from slurm import NoCluster, slurm

ENVS = Path(__file__).parents[2] / "envs"


def pytest_collection_modifyitems(items):
    if not os.environ.get("CENTRALFLOWS_CLUSTER"):
        skip = pytest.mark.skip(reason="installs Debian's SLURM and starts it, as root; set CENTRALFLOWS_CLUSTER=1")
        for item in items:
            if "cluster" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """SLURM runs while this is needed."""
    try:
        with slurm(tmp_path_factory.mktemp("slurm")):
            yield
    except NoCluster as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def python(tmp_path_factory) -> Path:
    """A Python with the executors: they are installed beside the running environment, which stays as it is."""
    folder = tmp_path_factory.mktemp("executors")
    venv.create(folder)
    own = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    (own / "running.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    python = folder / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--requirement", ENVS / "cluster.in"]
    install += ["--constraint", ENVS / "requirements.lock"]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the executors cannot be installed: {done.stderr.strip()}")
    return python
