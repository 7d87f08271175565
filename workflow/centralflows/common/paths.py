"""Path of the repository, for files that only a checkout has: scripts, profiles, documentation, reference trajectories.

Data that the library reads are in its packages and are found with `importlib.resources`.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
"""Folder of the package `centralflows`."""

REPOSITORY = PACKAGE.parents[1]
"""Folder of the checkout around it; in an installed wheel, a folder without those files."""
