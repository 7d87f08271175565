"""The mean sharpness at the edge lies above 2 by the mean square of its fluctuation."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import brentq

from centralflows.analysis.edge_offset import edge_offset


@pytest.mark.parametrize("amplitude", [0.03, 0.1])
def test_the_offset_is_the_mean_square_of_the_fluctuation(amplitude):
    """A displacement that neither grows nor decays: d = c + a s(t), with c such that log(1 + 2 d) averages to zero.

    To second order c = a^2 <s^2>; the fourth moment adds at most 2 <d^4>, which relative to <d^2> is below 2 a^2.
    """
    sawtooth = np.linspace(-1, 1, 40)
    c = brentq(lambda c: np.log1p(2 * (c + amplitude * sawtooth)).mean(), -0.1, 0.1)
    values = np.tile(2 * (1 + c + amplitude * sawtooth), 10_000)
    midpoint = {"effective_eigenvalues": (("step", "mode"), values[:, None])}
    coords = {"step": np.arange(len(values)), "mode": [1]}
    central = xr.Dataset({"rank": ("step", np.ones(len(values), dtype=int))}, coords)
    found = edge_offset({"midpoint": xr.Dataset(midpoint, coords), "central": central})
    assert found.largest == pytest.approx(found.modes)
    assert found.modes == pytest.approx(
        found.fluctuation, rel=2 * amplitude**2 + 0.02
    )  # the window cuts a cycle, one of 5000
    assert found.modes > 0


def test_the_largest_of_several_eigenvalues_lies_above_their_mean():
    generator = np.random.default_rng(0)
    values = np.sort(2 + 0.1 * generator.standard_normal((4000, 3)), axis=1)[:, ::-1]
    coords = {"step": np.arange(4000), "mode": [1, 2, 3]}
    rank = ("step", np.full(4000, 3))
    midpoint = xr.Dataset({"effective_eigenvalues": (("step", "mode"), values)}, coords)
    found = edge_offset({"midpoint": midpoint, "central": xr.Dataset({"rank": rank}, coords)})
    # The mean of the largest of three standard normal numbers is 3 / (2 sqrt(pi)) = 0.846; 0.05 of it is the unit here.
    # Standard errors over 2000 steps are 0.05 / sqrt(2000) = 0.0011 or less.
    assert found.largest == pytest.approx(0.05 * 0.846, abs=0.004)
    assert found.modes == pytest.approx(0, abs=0.004)
    assert found.fluctuation == pytest.approx(0.0025, rel=0.1)
