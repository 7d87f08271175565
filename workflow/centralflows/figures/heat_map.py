"""The scorecard as a heat map: runs by claims."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .style import panels, styled

VERDICTS = ("fails", "undecided", "holds")
COLORS = ("#d55e00", "#d9d9d9", "#56b4e9")  # distinct for colour-blind readers


@styled()
def heat_map(card: Mapping[str, Any]) -> Figure:
    """Draw the verdicts in colour, with measured numbers in the cells; claims that do not apply stay white."""
    runs = card["runs"]
    claims = [name for name in card["claims"] if any(name in found for found in runs.values())]
    codes = np.full((len(runs), len(claims)), np.nan)
    texts = np.full(codes.shape, "", dtype=object)
    for i, found in enumerate(runs.values()):
        for j, claim in enumerate(claims):
            if claim in found:
                codes[i, j] = VERDICTS.index(found[claim]["verdict"])
                texts[i, j] = f"{found[claim]['value']:.3g}"
    figure, (axes,) = panels(1, width=2.2 + 0.68 * len(claims), height=1.6 + 0.2 * len(runs))
    sns.heatmap(
        codes,
        ax=axes,
        cmap=ListedColormap(COLORS),
        vmin=-0.5,
        vmax=2.5,
        annot=texts,
        fmt="",
        annot_kws={"size": 7},
        cbar=False,
        linewidths=0.5,
        linecolor="white",
        xticklabels=claims,
        yticklabels=[
            f"{run} (diverged at step {card['diverged'][run]})" if run in card["diverged"] else run for run in runs
        ],
    )
    axes.tick_params(axis="x", rotation=40, length=0)
    for label in axes.get_xticklabels():
        label.set_ha("right")
        label.set_rotation_mode("anchor")
    axes.tick_params(axis="y", rotation=0, length=0)
    handles = [Patch(color=color, label=verdict) for verdict, color in zip(VERDICTS, COLORS, strict=True)]
    figure.legend(handles=handles[::-1], loc="outside upper center", ncols=3)
    return figure
