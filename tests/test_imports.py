"""The wings of the package: imports go one way, and every name is unique."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from calls import ROOT

PACKAGE = ROOT / "workflow" / "centralflows"
WINGS = sorted(folder.name for folder in PACKAGE.iterdir() if folder.is_dir() and folder.name != "__pycache__")


def contracts(folder: Path) -> subprocess.CompletedProcess:
    """The contracts of pyproject.toml, checked on the package in a folder."""
    call = [Path(sys.executable).parent / "lint-imports", "--no-cache", "--config", ROOT / "pyproject.toml"]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    done.stdout = re.sub(r"\x1b\[\d+m", "", done.stdout)  # colours
    return done


def test_the_contracts_of_imports_are_kept():
    done = contracts(ROOT / "workflow")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("store/trajectory.py", "import torch", "No torch where stores and configurations are read"),
        ("config/run.py", "def late():\n    import torch", "No torch where stores and configurations are read"),
        ("derivatives/point.py", "from ..flows import gram", "Wings import one way"),
        ("figures/style.py", "from ..provenance import lineage", "Wings import one way"),
        ("analysis/claims.py", "from ..problems.data import sorting", "Analysis depends on stores"),
        ("flows/flow.py", "import torchdiffeq", "One module imports the integrator library"),
    ],
)
def test_a_wrong_import_breaks_a_contract(tmp_path, file, line, broken):
    shutil.copytree(PACKAGE, tmp_path / "centralflows", ignore=shutil.ignore_patterns("__pycache__", "*.npz"))
    with (tmp_path / "centralflows" / file).open("a") as module:
        module.write(f"\n{line}\n")
    done = contracts(tmp_path)
    assert done.returncode == 1
    assert re.search(rf"^{broken}.* BROKEN", done.stdout, flags=re.M), done.stdout


def test_the_top_of_the_package_is_seen_at_a_glance():
    entries = {entry.name for entry in PACKAGE.iterdir()} - {"__init__.py", "__pycache__"}
    assert len(entries) <= 12, entries


def test_no_two_files_share_a_name():
    names = Counter(file.name for file in PACKAGE.rglob("*.py") if file.name != "__init__.py")
    assert [name for name, count in names.items() if count > 1] == []


def test_the_tests_mirror_the_wings():
    assert [wing for wing in WINGS if not list((ROOT / "tests" / wing).rglob("test_*.py"))] == []


@pytest.mark.parametrize(
    "module", ["analysis.time_series", "figures", "config.profile", "store.trajectory", "jobs.job"]
)
def test_reading_stores_loads_no_torch(module):
    code = f"import sys, centralflows.{module}; print(sorted({{'torch', 'torchdiffeq'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
