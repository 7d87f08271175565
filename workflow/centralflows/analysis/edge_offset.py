r"""How far above 2 the effective sharpness of an optimizer sits at the edge of stability, and why.

Along a direction at the edge a displacement x from the midpoint is multiplied by $1 - \lambda_t$ at each step, so that

$$x_{t+1}^2 - x_t^2 = \lambda_t (\lambda_t - 2)\, x_t^2 .$$

Displacements neither grow nor decay in the long run, and the left side averages to zero: weighted by $\lambda x^2$, the
eigenvalue averages to 2 exactly. Its plain average lies above 2, because it is above 2 for as long as it takes a small
displacement to grow, and below 2 only while a large one lasts. The largest of several eigenvalues lies higher still, as
the largest of numbers that fluctuate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import xarray as xr

from .crossings import EDGE, at_edge


class EdgeOffset(NamedTuple):
    """Relative distances from 2 of the effective eigenvalues at midpoints, in the second half of the time at the edge.

    Attributes:
        largest: mean of the largest eigenvalue over 2, minus one.
        modes: the same for all eigenvalues that the central flow holds at 2.
        weighted: the same, weighted by the eigenvalue times the squared displacement along its eigenvector.
    """

    largest: float
    modes: float
    weighted: float


def edge_offset(run: Mapping[str, xr.Dataset]) -> EdgeOffset | None:
    """Return the offset of a run with a central flow; None if it is not at the edge for long."""
    steps = at_edge(run)
    if steps is None:
        return None
    midpoint = run["midpoint"].sel(step=steps.values)
    rank = run["central"]["rank"].sel(step=steps.values).clip(min=1)
    eigenvalues = midpoint.effective_eigenvalues
    off = (eigenvalues / EDGE - 1).where(midpoint.mode <= rank)
    weights = (eigenvalues * midpoint.oscillation**2).where(off.notnull())
    largest = eigenvalues.isel(mode=0).mean() / EDGE - 1
    return EdgeOffset(float(largest), float(off.mean("mode").mean()), float((off * weights).sum() / weights.sum()))
