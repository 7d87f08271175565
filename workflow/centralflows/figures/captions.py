"""Descriptions of the runs in the captions of figures, `workflow/report/*.rst`."""

from __future__ import annotations

from ..config.profile import ProfileConfig
from ..config.run import RunConfig


def about(profile: ProfileConfig, figure: str) -> str:
    """Return the descriptions of a figure's runs, one after the other, in reStructuredText."""
    return "; ".join(f"**{name}**, {described(profile.runs[name])}" for name in profile.figures[figure].sources)


def described(run: RunConfig) -> str:
    """Return a run in one line: its network, dataset and optimizer, with their options that are not the default."""
    parts = []
    for part in (run.model, run.dataset, run.optimizer):
        options = part.model_dump(exclude_defaults=True)
        text = ", ".join(f"{key} {value}" for key, value in options.items() if key != "name")
        parts.append(part.name + (f" ({text})" if text else ""))
    return f"{', '.join(parts)}, {run.steps} steps"
