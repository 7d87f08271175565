"""What the README says to type runs: its Python here, its commands here or in the tests that are named for them."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
import survival_table
from calls import ROOT, environment

README = ROOT / "README.md"

PLANNED = "test_readme.py::test_a_command_of_snakemake_has_a_plan"
RUN_BY = {
    "workflow/test_workflow.py::test_two_builds_are_byte_identical": [
        "snakemake --cores all",
        "snakemake --cores all --configfile config/smoke.yaml",
    ],
    "workflow/test_workflow.py::test_the_grid_of_the_paper_is_planned_in_seconds": [
        "snakemake --cores all --configfile config/paper.yaml",
    ],
    PLANNED: [
        "snakemake --cores all figure_gd_eos",
        "snakemake --cores 1 --force benchmark",
    ],
    "workflow/test_crate.py::test_it_is_what_it_claims_to_be": [
        "snakemake --cores all crate",
        "snakemake --cores 1 crate",
    ],
    "browser/test_report.py::test_every_figure_is_found_by_its_category": [
        "snakemake --report report.html",
    ],
    "cluster/test_profiles.py::test_the_whole_smoke_profile": [
        "snakemake --profile profiles/slurm --configfile config/paper.yaml",
    ],
    "cluster/conftest.py::python": [
        "python -m pip install --quiet --requirement envs/cluster.in --constraint envs/requirements.lock",
    ],
    "test_readme.py::test_every_command_is_run_by_a_test": [
        "python -m pytest",
    ],
    "test_readme.py::test_the_table_of_what_is_survived_is_written_in_its_place": [
        "python -m pytest --survival-table",
    ],
    "workflow/test_status.py::test_every_state_is_told": [
        "python -m centralflows status default",
        "python -m centralflows status paper",
    ],
    "workflow/test_lineage.py::test_all_findings_are_reported_at_once": [
        "python -m centralflows verify default",
    ],
    "workflow/test_lineage.py::test_a_figure_leads_back_to_its_dataset_with_source_and_licence": [
        "python -m centralflows audit figures/default/gd-eos.svg",
    ],
    "workflow/test_lineage.py::test_a_copied_figure_is_known_by_its_identifier": [
        "python -m centralflows audit copy.png --results results",
    ],
    "workflow/test_lineage.py::test_every_question_has_an_answer_for_everything": [
        "python -m centralflows audit --all",
    ],
    "workflow/test_lineage.py::test_differences_of_two_stores_are_named": [
        "python -m centralflows diff results/a/wide/central.zarr results/b/wide/central.zarr",
    ],
}
"""The commands that a test runs, on the smoke profile where they say another. This file itself runs in `make test`."""

STEPS = {command for commands in RUN_BY.values() for command in commands}


def commands() -> list[str]:
    """What stands in the README's shell blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README.read_text(), flags=re.M | re.S)
    lines = "".join(blocks).splitlines()
    return [command for line in lines if (command := line.partition(" #")[0].strip())]


def recipe(command: str) -> list[str]:
    """What `make` would run for a command, but for the environment; other commands are themselves."""
    if not command.startswith("make "):
        return [command]
    call = [*command.split(), "--dry-run", "--assume-old=.venv/.ready", "--what-if=README.md"]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True)
    called = re.findall(r"^(?:PATH=\S+ |\S+/)(?:[A-Z_]+=\S+ )*((?:snakemake|python) .*)$", done.stdout, flags=re.M)
    return [line.partition(" && ")[0] for line in called if not line.endswith("pip check")]


def test_every_command_is_run_by_a_test():
    assert len(commands()) > 15
    assert [command for command in commands() if not recipe(command)] == []
    assert {step for command in commands() for step in recipe(command)} == STEPS
    for test in RUN_BY:
        file, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(), test


@pytest.mark.parametrize("command", RUN_BY[PLANNED])
def test_a_command_of_snakemake_has_a_plan(command, tmp_path):
    """Of what takes long, or is run for another figure: the rules are there, and Snakemake knows the way to them."""
    (tmp_path / "config").symlink_to(ROOT / "config")
    call = [sys.executable, "-m", *command.split()]
    call[3:3] = ["--dry-run", "--quiet", "rules", "--directory", str(tmp_path)]
    done = subprocess.run(call, env=environment(), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and re.search(r"^total +\d+$", done.stdout + done.stderr, flags=re.M), done.stderr


def test_what_the_layout_names_is_there():
    rows = re.findall(r"^\| (`.*?) \|", README.read_text().partition("## Layout")[2], flags=re.M)
    assert len(rows) > 25
    for row in rows:
        folder = ROOT / "workflow" / "centralflows" if row.startswith("`— ") else ROOT
        for name in re.findall(r"`(?:— )?(.*?)`", row):
            assert (folder / name).exists(), name


def test_the_table_of_what_is_survived_is_written_in_its_place(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{survival_table.BEGIN}old\n{survival_table.END}after\n")
    survival_table.write({"kill": 1234}, page)
    survival_table.write({"kill": 1234, "resume": 0}, page)
    head, row, tail = re.fullmatch(r"(.*)\n(\| a traj[^\n]*)\n(.*)", page.read_text(), flags=re.S).groups()
    assert head.startswith("before\n") and " | 1,234 | " in row and tail == f"\n{survival_table.END}after\n"
    assert survival_table.BEGIN in README.read_text() and survival_table.END in README.read_text()


def test_the_library_snippet_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    (snippet,) = [block for block in blocks if "trajectories = experiment.run()" in block]
    assert len(snippet.splitlines()) < 25
    names: dict = {}
    exec(compile(snippet, "README.md", "exec"), names)
    trajectories = names["trajectories"]
    assert set(trajectories) == {"discrete", "midpoint", "stable", "central"}
    for trajectory in trajectories.values():
        assert trajectory.sizes["step"] == 300 and np.isfinite(trajectory.loss).all()
    # The claim of the snippet: it reaches the edge of stability and stays there.
    assert abs(float(trajectories["central"].effective_eigenvalues[-1, 0]) - 2) < 0.01
    assert capsys.readouterr().out


def test_the_optimizer_of_ones_own_runs():
    """From the README to a central flow at the edge of stability."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    names: dict = {"__name__": "my_module"}
    for block in blocks:
        if "class NormalizedDescent" in block or "objective = Objective(" in block:
            exec(compile(block, "README.md", "exec", dont_inherit=True), names)
    experiment = names["Experiment"](names["objective"], names["NormalizedDescent"](lr=0.1), steps=60)
    found = experiment.run(["discrete", "central", "stationary"])
    assert all(np.isfinite(dataset.loss).all() and dataset.sizes["step"] == 60 for dataset in found.values())
    for process in ("central", "stationary"):
        assert float(found[process].effective_eigenvalues[-1, 0]) < 2.05
    assert int(found["central"]["rank"].max()) > 0
