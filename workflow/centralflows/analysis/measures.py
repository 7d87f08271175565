"""What is measured in the stores of one run: for each claim about it, one number at a width of the time averages [steps].

None where a claim does not apply. What each number is stands beside its threshold in `claims.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr

from .crossings import EDGE, first_crossing, last_known
from .time_series import time_average

Run = Mapping[str, xr.Dataset]
Measure = Callable[[Run, float], float | None]

# -- when a run is at the edge --------------------------------------------------------------------------------------


def at_edge(run: Run) -> xr.DataArray | None:
    """The steps of the second half of the time since the sharpness first reached the edge; None if it never does.

    The first half holds the transient: the first overshoot is larger than all later ones.
    """
    sharpness = run["midpoint"].effective_eigenvalues.isel(mode=0).dropna("step")
    onset = first_crossing(sharpness)
    if onset is None:
        return None
    last = int(sharpness.step[-1])
    steps = sharpness.step.sel(step=slice((onset + last) // 2, None))
    return steps if len(steps) >= 10 else None


def oscillating(run: Run) -> xr.DataArray | None:
    """The steps at which the central flow has an oscillation; None if there are fewer than ten."""
    if "central" not in run:
        return None
    central = run["central"]
    steps = central.step[((central["rank"] > 0) & _returned(central)).values]
    return steps if len(steps) >= 10 else None


def _returned(flow: xr.Dataset) -> xr.DataArray:
    """Steps from which on a flow that started beyond the edge is back: what it does before is a matter of its relaxation
    time, and predicts nothing."""
    back = ~(flow.effective_eigenvalues.isel(mode=0, drop=True) > 1.05 * EDGE)
    return flow.step >= (int(flow.step[int(back.values.argmax())]) if back.any() else 0)


# -- the measurements -------------------------------------------------------------------------------------------------


def sharpness_at_edge(run: Run, width: float) -> float | None:
    steps = at_edge(run)
    if steps is None:
        return None
    sharpness = run["midpoint"].effective_eigenvalues.isel(mode=0).sel(step=steps)
    return abs(float(sharpness.mean()) / EDGE - 1)


def critical_eigenvalues(run: Run, width: float) -> float | None:
    steps = oscillating(run)
    if steps is None:
        return None
    central = run["central"].sel(step=steps)
    modes = central.mode <= central["rank"]
    # Where a mode has just been admitted it is still on its way: the flow approaches the edge within a relaxation time.
    off = abs(central.effective_eigenvalues / EDGE - 1).where(modes)
    return float(off.quantile(0.95))


def distances(run: Run, width: float) -> float | None:
    if "central" not in run or "stable" not in run:
        return None
    last = last_known(run["stable"].distance)
    if last is None or last[1] == 0 or oscillating(run) is None:
        return None
    return float(run["central"].distance.sel(step=last[0])) / last[1]


def predicted_loss(run: Run, width: float) -> float | None:
    steps = oscillating(run)
    if steps is None:
        return None
    average = time_average(run["discrete"].loss, width=width).sel(step=steps)
    return float(abs(run["central"].predicted_loss.sel(step=steps) / average - 1).mean())


def predicted_gradient_norm(run: Run, width: float) -> float | None:
    return _ratio(run, "gradient_norm_squared", "predicted_gradient_norm_squared")


def predicted_squared_gradients(run: Run, width: float) -> float | None:
    return _ratio(run, "gradient_squared", "predicted_gradient_squared")


def predicted_state(run: Run, width: float) -> float | None:
    if "state_coordinates" in run["discrete"]:
        return _ratio(run, "state_coordinates", "state_coordinates")
    return _ratio(run, "state_total", "state_total")


def _ratio(run: Run, discrete: str, central: str) -> float | None:
    """How far the time means of a quantity and of its prediction are apart, relative; the median over weights."""
    steps = oscillating(run)
    if steps is None or discrete not in run["discrete"]:
        return None
    measured = run["discrete"][discrete].sel(step=steps).mean("step")
    predicted = run["central"][central].sel(step=steps).mean("step")
    return float(abs(predicted / measured - 1).median())


def predicted_variances(run: Run, width: float) -> float | None:
    steps = oscillating(run)
    if steps is None:
        return None
    central = run["central"].sel(step=steps)
    known = np.isfinite(central.displacement) & (central.mode <= central["rank"])
    count = known.sum("step")
    measured, predicted = (v.where(known).sum("step") for v in (central.displacement**2, central.variances))
    ratio = (predicted / measured).where(count >= max(10, 5 * width))
    return float(abs(np.log2(ratio)).max()) if ratio.notnull().any() else None


def monotone(run: Run, width: float) -> float | None:
    if "central" not in run:
        return None
    central = run["central"]
    loss = central.loss.where(_returned(central)).dropna("step").values
    return float(np.diff(loss).max() / (loss[0] - loss.min())) if len(loss) > 1 and loss.min() < loss[0] else None


def adapted_step(run: Run, width: float) -> float | None:
    discrete, steps = run["discrete"], at_edge(run)
    one_step_size = "state_total" in discrete and "state_coordinates" not in discrete
    sharpness = run["midpoint"].hessian_eigenvalues.isel(mode=0)
    if steps is None or not one_step_size or not np.isfinite(sharpness.sel(step=steps)).all():
        return None
    return abs(float((discrete.step_size * sharpness).sel(step=steps).mean()) / EDGE - 1)


def compared(one: str, other: str, quantity: Callable[[xr.Dataset], xr.DataArray]) -> Measure:
    """A quantity of one flow over that of another, at the last step that both have."""

    def measure(run: Run, width: float) -> float | None:
        if one not in run or other not in run:
            return None
        both = xr.merge(
            [quantity(run[name]).rename(name) for name in (one, other)], compat="override", join="inner"
        ).dropna("step")
        return float(both[one][-1] / both[other][-1]) if both.sizes["step"] else None

    return measure


def speeds(measure: Callable[[xr.Dataset], xr.DataArray]) -> Measure:
    """A mean over the points of the central flow, from the first at which the stationary state oscillates."""

    def measured(run: Run, width: float) -> float | None:
        if "speeds" not in run:
            return None
        points = run["speeds"].where(run["speeds"]["rank"] > 0, drop=True)
        return float(measure(points).mean()) if points.sizes["step"] else None

    return measured


def cosine(run: Run, width: float) -> float | None:
    return float(run["speeds"].cosine[-1]) if "speeds" in run and run["speeds"].sizes["step"] else None
