"""Where the repository is, for what only a checkout has: scripts, profiles, documentation, reference trajectories.

Data that the library itself reads lie in its packages and are found with `importlib.resources`.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
"""The package `centralflows`."""

REPOSITORY = PACKAGE.parents[1]
"""The checkout around it; in an installed wheel, a folder without those things."""
