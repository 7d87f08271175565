"""Agreement with trajectories of the published implementation, and its table in the manual.

`snakemake --cores all agreement` measures;
`python -m centralflows.jobs.benchmarks.agreement` writes the table to `docs/numerics.md`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr
from torch import nn

from ...common.paths import REPOSITORY
from ...config.processes import PUBLISHED_CENTRAL, PUBLISHED_STABLE
from ...flows.experiment import Experiment
from ...optimizers.gd import GradientDescent
from ...optimizers.optimizer import Optimizer
from ...optimizers.rmsprop import RMSProp
from ...optimizers.scalar_rmsprop import ScalarRMSProp
from ...problems.objective import Objective
from . import manual_tables

MEASURED = REPOSITORY / "results" / "agreement.json"
MANUAL = REPOSITORY / "docs" / "numerics.md"

RUNS: dict[str, tuple[Optimizer, int]] = {  # optimizer, and number of steps of the warm start
    "gd": (GradientDescent(0.4), 0),
    "scalar-rmsprop": (ScalarRMSProp(0.03, 0.99), 20),
    "rmsprop": (RMSProp(1e-3, 0.95, eps=1e-7), 20),
}
QUANTITIES = {  # of the central flow: names in this package, and in the published implementation
    "loss": "train_loss",
    "predicted_loss": "predicted_loss",
    "gradient_norm_squared": "grad_norm_sq",
    "predicted_gradient_norm_squared": "predicted_grad_norm_sq",
    "effective_eigenvalues": "effective_eigenvalues",
    "state_total": ("opt.nu", "opt.nu_l1"),
}


def published(run: str) -> dict[str, np.ndarray]:
    """Return a trajectory of the published implementation (see `tests/reference/README.md`)."""
    return dict(np.load(REPOSITORY / "tests" / "reference" / f"{run}.npz", allow_pickle=False))


def ours(run: str, theirs: Mapping[str, np.ndarray]) -> dict[str, xr.Dataset]:
    """Return the same run through the public interface: same start, same data, published discretisation."""
    network = nn.Sequential(nn.Linear(20, 24), nn.GELU(), nn.Linear(24, 24), nn.GELU(), nn.Linear(24, 3))
    targets = nn.functional.one_hot(torch.from_numpy(theirs["labels"]), 3).float()

    def criterion(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return 0.5 * (outputs - targets).square().sum(-1).mean()

    objective = Objective(network, torch.from_numpy(theirs["inputs"]), targets, criterion)
    optimizer, warm_start = RUNS[run]
    weights = torch.from_numpy(theirs["initial_weights"])
    discretisation = {"central": PUBLISHED_CENTRAL, "stable": PUBLISHED_STABLE}
    return Experiment(objective, optimizer, 200, weights, warm_start=warm_start, **discretisation).run()


def differences(central: xr.Dataset, theirs: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the largest relative difference of each quantity over all steps at which both are known."""
    found = {}
    for name, keys in QUANTITIES.items():
        names = [f"central/{key}" for key in ((keys,) if isinstance(keys, str) else keys)]
        known = [theirs[key] for key in names if key in theirs]
        if name not in central or not known:
            continue
        a, b = central[name].values, known[0]
        if a.ndim == 2:
            modes = min(a.shape[1], b.shape[1])
            a, b = a[:, :modes], b[:, :modes]
        found[name] = float(np.nanmax(np.abs(a / b - 1)))
    return found


def table(measured: Mapping[str, Mapping[str, float]]) -> str:
    """Return the differences as a Markdown table, runs by quantities."""
    lines = [f"| run | {' | '.join(name.replace('_', ' ') for name in QUANTITIES)} |", "| --- " * 7 + "|"]
    for run, found in measured.items():
        cells = [f"{found[name]:.1e}".replace("e-0", "e-") if name in found else "" for name in QUANTITIES]
        lines.append(f"| {run} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    manual_tables.put(MANUAL, "agreement", table(json.loads(MEASURED.read_text())))
