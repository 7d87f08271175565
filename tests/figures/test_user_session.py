"""Imports and drawings leave a user's matplotlib as it is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SESSION = """
import sys

import centralflows
from centralflows import figures

assert "matplotlib" not in sys.modules, "it is imported before anything is drawn"
import matplotlib
import matplotlib.pyplot as plt
from matplotlib.colors import to_rgb

matplotlib.rcParams.update({{"lines.linewidth": 7.0, "axes.grid": True, "svg.fonttype": "none"}})
{own}
keys = [key for key in matplotlib.rcParams if key != "backend"]


def settings():
    return [matplotlib.rcParams[key] for key in keys], matplotlib.rcParams._get("backend"), plt.get_fignums(), to_rgb("b")


before = settings()
import numpy as np
import xarray as xr
from pathlib import Path
from centralflows.figures.heat_map import heat_map
from centralflows.figures.animation import animate
from centralflows.figures.films import growing

steps = np.arange(30)
series = {{name: ("step", 1.0 + steps) for name in ("loss", "gradient_norm_squared", "step_size", "distance")}}
eigenvalues = {{name: (("step", "mode"), 1.0 + steps[:, None]) for name in ("effective_eigenvalues", "hessian_eigenvalues")}}
data = xr.Dataset(series | eigenvalues, {{"step": steps}})
run = {{"discrete": data, "midpoint": data, "stable": data}}
figure = figures.draw("gd-eos", {{"mine": run}})
axes = figures.sharpness(run)
figures.loss(run, ax=matplotlib.figure.Figure().subplots())
card = {{"runs": {{"mine": {{"edge": {{"verdict": "holds", "value": 0.1}}}}}}, "claims": {{"edge": {{}}}}, "diverged": {{}}}}
for name, drawn in (("figure", figure), ("axes", axes.figure), ("card", heat_map(card))):
    for kind in ("png", "svg"):
        figures.save(drawn, Path(f"{{name}}.{{kind}}"))
    drawn._repr_png_()
animate(growing(figure), Path("a.gif"), identifier="x", frames=2)
try:
    figures.loss(data)
except figures.NotShown as error:
    assert "give the trajectories by process" in str(error)
else:
    raise AssertionError("one trajectory is not a run")
after = settings()
assert before == after, [(key, a, b) for key, a, b in zip(keys, before[0], after[0]) if a != b] + [before[1:], after[1:]]
"""


@pytest.mark.parametrize("own", ["", "matplotlib.use('svg'); plt.figure()", "plt.style.use('ggplot'); plt.figure()"])
def test_nothing_of_the_users_changes(own, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    call = [sys.executable, "-c", SESSION.format(own=own)]
    found = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
