"""What captions say of runs."""

from __future__ import annotations

from centralflows.config import profile
from centralflows.figures import captions


def test_a_caption_names_each_run_and_what_of_it_is_not_the_default():
    run = {
        "dataset": {"name": "moons", "examples": 40, "test_examples": 8},
        "model": {"name": "mlp"},
        "optimizer": {"name": "gd", "lr": 0.05},
        "steps": 30,
    }
    runs = {"a": run, "b": run | {"model": {"name": "mlp", "width": 6}, "steps": 40}}
    figures = {"gd-eos-two-lrs": {"runs": ["a", "b"]}, "gd-quadratic-1d": {}}
    known = profile.load({"profile": "x", "runs": runs, "figures": figures})
    assert captions.about(known, "gd-eos-two-lrs") == (
        "**a**, mlp, moons (examples 40, test_examples 8), gd (lr 0.05), 30 steps; "
        "**b**, mlp (width 6), moons (examples 40, test_examples 8), gd (lr 0.05), 40 steps"
    )
    assert captions.about(known, "gd-quadratic-1d") == ""
