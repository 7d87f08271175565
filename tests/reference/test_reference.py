"""Agreement with trajectories of the published implementation (see README.md here), through the public interface."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from centralflows import Experiment, GradientDescent, Objective

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def published():
    return dict(np.load(HERE / "gd.npz", allow_pickle=False))


@pytest.fixture(scope="module")
def ours(published):
    network = nn.Sequential(nn.Linear(20, 24), nn.GELU(), nn.Linear(24, 24), nn.GELU(), nn.Linear(24, 3))
    targets = nn.functional.one_hot(torch.from_numpy(published["labels"]), 3).float()
    objective = Objective(
        network, torch.from_numpy(published["inputs"]), targets, lambda f, y: 0.5 * (f - y).square().sum(-1).mean()
    )
    weights = torch.from_numpy(published["initial_weights"])
    return Experiment(objective, GradientDescent(lr=0.4), steps=200, initial_weights=weights).run()


@pytest.mark.parametrize(
    ("quantity", "published_name", "tolerance"),
    [
        ("loss", "train_loss", 1e-3),
        ("predicted_loss", "predicted_loss", 1e-3),
        ("gradient_norm_squared", "grad_norm_sq", 1e-3),
        # Its oscillating part is a small difference of the loss's; the eigen-solver's noise in the file shows.
        ("predicted_gradient_norm_squared", "predicted_grad_norm_sq", 2e-3),
    ],
)
def test_the_central_flow_agrees_at_every_step(ours, published, quantity, published_name, tolerance):
    assert ours["central"].sizes["step"] == 200
    np.testing.assert_allclose(ours["central"][quantity], published[f"central/{published_name}"], rtol=tolerance)


def test_the_central_flows_spectrum_and_covariance_agree(ours, published):
    theirs = published["central/effective_eigenvalues"][:, :2]
    eigenvalues = ours["central"].effective_eigenvalues.values[:, :2]
    known = np.isfinite(theirs) & np.isfinite(eigenvalues)
    assert known[:, 0].all() and known[80:, 1].all()
    np.testing.assert_allclose(eigenvalues[known], theirs[known], rtol=1e-3)
    variances = np.nan_to_num(ours["central"].variances.values[:, :2])
    largest = np.nanmax(published["central/predicted_variances"])
    np.testing.assert_allclose(variances, np.nan_to_num(published["central/predicted_variances"]), atol=2e-3 * largest)


def test_the_stable_flow_agrees_at_every_step(ours, published):
    np.testing.assert_allclose(ours["stable"].loss, published["stable/train_loss"], rtol=1e-5)
    theirs = published["stable/effective_eigenvalues"][:, 0]
    np.testing.assert_allclose(ours["stable"].effective_eigenvalues.isel(mode=0), theirs, rtol=1e-4)


def test_the_discrete_run_and_its_midpoints_agree_before_the_edge(ours, published):
    before = int(np.argmax(published["midpoint/effective_eigenvalues"][:, 0] > 1.9))
    assert before > 30
    early = slice(0, before)
    for process in ("discrete", "midpoint"):
        np.testing.assert_allclose(ours[process].loss[early], published[f"{process}/train_loss"][early], rtol=1e-5)
    sharpness = ours["midpoint"].effective_eigenvalues.isel(mode=0)[early]
    np.testing.assert_allclose(sharpness, published["midpoint/effective_eigenvalues"][early, 0], rtol=1e-4)


def test_distances_agree_before_the_edge(ours, published):
    early = slice(0, 40)
    for process in ("stable", "central"):
        names = [f"distances/{pair}" for pair in (f"{process}-discrete", f"discrete-{process}")]
        theirs = next(published[name] for name in names if name in published)
        np.testing.assert_allclose(ours[process].distance[early], theirs[early], rtol=1e-3, atol=1e-6)
