"""The README's library snippet runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

README = Path(__file__).parents[2] / "README.md"


def test_the_library_snippet_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    (snippet,) = [block for block in blocks if "trajectories = experiment.run()" in block]
    assert len(snippet.splitlines()) < 25
    names: dict = {}
    exec(compile(snippet, "README.md", "exec"), names)
    trajectories = names["trajectories"]
    assert set(trajectories) == {"discrete", "midpoint", "stable", "central"}
    for trajectory in trajectories.values():
        assert trajectory.sizes["step"] == 100 and np.isfinite(trajectory.loss).all()
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
