"""The package as a wheel: the data that it reads come with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from calls import ROOT

from centralflows.config.job_settings import TEMPLATES

READ = """
from centralflows.config.job_settings import PUBLISHED, TEMPLATES
from centralflows.problems.data.cifar10 import SUBSET, load
from centralflows.provenance.manifest import lock_digest
import centralflows
print(centralflows.__file__, len(load(SUBSET).train_images), len(PUBLISHED.read_text()) > 100, lock_digest())
print(*sorted(file.name for file in TEMPLATES.iterdir()))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the package as it is installed from a wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "workflow", source / "workflow", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = ["wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run([*pip, *build], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    target = folder / "target"
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)],
        check=True,
        capture_output=True,
    )
    return target


def test_a_wheel_finds_its_data(installed, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", READ], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    file, images, published, digest, *templates = done.stdout.split()
    assert templates == sorted(file.name for file in TEMPLATES.iterdir())
    assert file.startswith(str(installed)) and (images, published) == ("1000", "True") and len(digest) == 64
