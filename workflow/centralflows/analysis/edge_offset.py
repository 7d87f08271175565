r"""How far above 2 the effective sharpness of an optimizer sits at the edge of stability, and why.

Along a direction at the edge, displacements are multiplied by $1 - \lambda_t$ at each step. They neither grow nor decay
in the long run, so that $\log|1 - \lambda_t|$ averages to zero. With $\lambda = 2(1 + \delta)$ this is $\log(1 +
2\delta)$, which is concave: to second order $\langle\delta\rangle = \langle\delta^2\rangle$, and the mean lies above 2
although the optimizer is at the edge. The largest of several eigenvalues lies higher still, as the largest of numbers
that fluctuate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from .claims import at_edge
from .crossings import EDGE


class EdgeOffset(NamedTuple):
    """Relative distances from 2 of the effective eigenvalues at midpoints, in the second half of the time at the edge.

    Attributes:
        largest: mean of the largest eigenvalue over 2, minus one.
        modes: the same for all eigenvalues that the central flow holds at 2.
        fluctuation: their mean square, which to second order `modes` should equal.
    """

    largest: float
    modes: float
    fluctuation: float


def edge_offset(run: Mapping[str, xr.Dataset]) -> EdgeOffset | None:
    """Return the offset of a run with a central flow; None if it is not at the edge for long."""
    steps = at_edge(run)
    if steps is None:
        return None
    off = run["midpoint"].effective_eigenvalues.sel(step=steps.values) / EDGE - 1
    rank = run["central"]["rank"].sel(step=steps.values).clip(min=1)
    held = off.where(off.mode <= rank)
    return EdgeOffset(*(float(np.mean(x)) for x in (off.isel(mode=0), held.mean("mode"), (held**2).mean("mode"))))
