"""At the edge the weighted mean of the sharpness is 2, and its plain mean lies above."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import brentq

from centralflows.analysis.edge_offset import edge_offset


def at_the_edge(eigenvalues: np.ndarray, oscillation: np.ndarray) -> dict[str, xr.Dataset]:
    """Return a run with the eigenvalues and displacements `[step, mode]`, all modes of which are held at the edge."""
    steps, modes = eigenvalues.shape
    coords = {"step": np.arange(steps), "mode": np.arange(1, modes + 1)}
    midpoint = {
        "effective_eigenvalues": (("step", "mode"), eigenvalues),
        "oscillation": (("step", "mode"), oscillation),
    }
    central = xr.Dataset({"rank": ("step", np.full(steps, modes))}, coords)
    return {"midpoint": xr.Dataset(midpoint, coords), "central": central}


@pytest.mark.parametrize("amplitude", [0.03, 0.1])
def test_weighted_by_the_displacement_the_edge_is_exact(amplitude):
    """The eigenvalue is a sawtooth around a level at which the displacement is the same after each cycle of 40 steps.

    The plain mean then exceeds 2 by the mean square of its fluctuation, to second order; the window cuts one cycle of 5000,
    which moves a mean by less than 1e-4 of the amplitude.
    """
    sawtooth = np.linspace(-1, 1, 40)
    level = brentq(lambda c: np.log1p(2 * (c + amplitude * sawtooth)).mean(), -0.1, 0.1)
    cycle = 2 * (1 + level + amplitude * sawtooth)
    x = np.cumprod([1.0, *(1 - cycle[:-1])])
    found = edge_offset(at_the_edge(np.tile(cycle, 10_000)[:, None], np.tile(x, 10_000)[:, None]))
    assert found.weighted == pytest.approx(0, abs=1e-4 * amplitude)
    assert found.largest == pytest.approx(found.modes)
    assert found.modes == pytest.approx((amplitude * sawtooth).var(), rel=2 * amplitude**2 + 0.02)


def test_the_largest_of_several_eigenvalues_lies_above_their_mean():
    generator = np.random.default_rng(0)
    values = np.sort(2 + 0.1 * generator.standard_normal((4000, 3)), axis=1)[:, ::-1]
    found = edge_offset(at_the_edge(values, np.ones_like(values)))
    # The mean of the largest of three standard normal numbers is 3 / (2 sqrt(pi)) = 0.846; 0.05 of it is the unit here.
    # Standard errors over 2000 steps are 0.05 / sqrt(2000) = 0.0011 or less.
    assert found.largest == pytest.approx(0.05 * 0.846, abs=0.004)
    assert found.modes == pytest.approx(0, abs=0.004)
