"""What the workflow adds to the work of its jobs: their number, and what each loads before it begins."""

from __future__ import annotations

import subprocess
import sys

import pytest
from calls import ROOT, environment, snakemake

from centralflows.config import job_settings
from centralflows.config.catalogue import CATALOGUE
from centralflows.config.profile import load

DEFAULT = ROOT / "config" / "config.yaml"

PARSE = f"""
from snakemake.cli import main
sys.argv = ["snakemake", "--snakefile", {str(ROOT / "Snakefile")!r}, "--configfile", {str(DEFAULT)!r}, "--list"]
try:
    main()
except SystemExit:
    pass
"""
FIGURE = "import centralflows.jobs.job, centralflows.jobs.stored_figure, centralflows.figures.central_flow_figures"
TRAJECTORY = """
import torch
from centralflows import Objective
from centralflows.derivatives.derivative_check import check_derivatives
from centralflows.flows.device import prepare
import centralflows.jobs.trajectories, centralflows.flows.central_flow, centralflows.flows.stable_flow
prepare("cpu", 1)
assert torch.are_deterministic_algorithms_enabled() and not torch.is_deterministic_algorithms_warn_only_enabled()
x = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(4, 3)
network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh()).double()
objective = Objective(network, x, x[:, :2], lambda f, y: (f - y).square().mean())
check_derivatives(objective, objective.initial_weights)
"""


def test_jobs_besides_trajectories_datasets_figures_and_films_do_not_grow_with_the_profile(tmp_path):
    """Starting one takes a second or more, whatever it then does."""
    done = snakemake(tmp_path, "--dry-run", "--quiet", "rules", config=DEFAULT)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in (done.stdout + done.stderr).splitlines()]
    counts = {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdigit()}
    profile = load(DEFAULT)
    runs = profile.runs.values()
    needed = sum(len(job_settings.trajectory_jobs(run)) for run in runs) + len(profile.figures)
    needed += sum(bool(CATALOGUE[figure.draw or slug].film) for slug, figure in profile.figures.items())
    needed += len({job_settings.dataset_name(run) for run in runs})
    # The scorecard, pages with all figures, and the target itself.
    assert needed < counts["total"] <= needed + 4


@pytest.mark.parametrize(
    ("code", "unloaded"),
    [
        # Snakemake itself loads NumPy and Pillow.
        (PARSE, {"torch", "xarray", "zarr", "pandas", "scipy", "matplotlib", "seaborn"}),
        (FIGURE, {"torch", "torchdiffeq", "clarabel", "seaborn", "scipy.stats", "matplotlib.pyplot"}),
        # torch's compiler, and what only some integrators and problems need
        (TRAJECTORY, {"torch._dynamo", "torch._inductor", "torchdiffeq", "clarabel", "scipy", "matplotlib", "seaborn"}),
    ],
    ids=["parse", "figure", "trajectory"],
)
def test_what_takes_long_to_load_is_loaded_where_it_is_used(tmp_path, code, unloaded):
    told = f"import sys\n{code}\nprint(sorted({unloaded!r} & sys.modules.keys()))"
    called = [sys.executable, "-c", told]
    done = subprocess.run(called, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment())
    assert done.stdout.splitlines()[-1] == "[]"
