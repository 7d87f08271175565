"""Figures of stored trajectories, or of trajectories in memory: `draw(slug, runs)` and `save(figure, path)`."""

from .drawing import draw
from .run_view import NotShown
from .style import save

__all__ = ["NotShown", "draw", "save"]
