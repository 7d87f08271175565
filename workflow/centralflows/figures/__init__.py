"""Figures of stored trajectories, or of trajectories in memory: `draw(slug, runs)` and `save(figure, path)`.

It imports no torch, and matplotlib only when a figure is drawn.
"""

from typing import Any

from ..common.references import load

_HOMES = {"NotShown": "run_view", "draw": "drawing", "save": "style"}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return load(f"{__name__}.{_HOMES[name]}:{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
