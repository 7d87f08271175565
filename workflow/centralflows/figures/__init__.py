"""Figures of trajectories, stored or in memory.

`draw(slug, runs)` draws a figure of the paper. `loss`, `sharpness`, `gradient_norm`, `distance`, `variance`, `accuracy` and
`quantity` draw one quantity of the trajectories of an experiment, also on axes of your own. `save(figure, path)` writes a
figure. The package imports no torch, and matplotlib only when a figure is drawn.
"""

from typing import Any

from ..common.references import load

_HOMES = {"NotShown": "run_view", "draw": "drawing", "save": "style"} | dict.fromkeys(
    ("accuracy", "distance", "gradient_norm", "loss", "quantity", "sharpness", "variance"), "quantities"
)

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return load(f"{__name__}.{_HOMES[name]}:{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
