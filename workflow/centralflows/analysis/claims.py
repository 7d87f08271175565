"""The paper's claims about one run: what each says, the number that decides it, its threshold, and how it is measured.

A measure is a function of a run's stores and of the width of the time averages [steps]. It returns None where its claim does
not apply. Claims about averages need some cycles at the edge of stability (`CYCLES`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy import ndarray

from .crossings import EDGE, at_edge, last_known
from .time_series import time_average

Run = Mapping[str, xr.Dataset]

HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"

CYCLES = 3
"""Smallest number of cycles of a run that is scored."""

STRICTEST, LAXEST = 0.05, 0.5
"""Thresholds of the binary logarithm of a variance, in a long run and in a short one."""


class Estimate(NamedTuple):
    """A measured number, and the accuracy with which the run's length lets it be measured.

    Attributes:
        value: the number.
        bound: two standard errors, in its unit. It replaces a stricter threshold.
    """

    value: float
    bound: float


Measure = Callable[[Run, float], float | Estimate | None]


class Claim(NamedTuple):
    """A statement of the paper that one number decides.

    Attributes:
        statement: the claim.
        number: the measured quantity.
        relation: its required relation to the threshold, "<=" or ">=".
        threshold: limit of what counts as agreement.
        measure: returns the number of a run at a width of the time averages [steps]; None if the claim does not apply.
        averaged: whether the number depends on the width.
        laxest: largest threshold that the accuracy of a run can justify.
    """

    statement: str
    number: str
    relation: str
    threshold: float
    measure: Measure
    averaged: bool = False
    laxest: float = 0.0

    def threshold_for(self, measured: float | Estimate) -> float:
        """Return the threshold, or the accuracy of the measurement if that is worse, up to `laxest`."""
        return (
            max(self.threshold, min(self.laxest, measured.bound)) if isinstance(measured, Estimate) else self.threshold
        )

    def verdict(self, *measured: float | Estimate) -> str:
        """Return whether the claim holds or fails; undecided if several measurements of the same quantity disagree."""
        pairs = [(m.value if isinstance(m, Estimate) else m, self.threshold_for(m)) for m in measured]
        right = {v <= threshold if self.relation == "<=" else v >= threshold for v, threshold in pairs}
        return UNDECIDED if len(right) > 1 else HOLDS if right == {True} else FAILS


CLAIMS: dict[str, Claim] = {}
"""Claims about one run, by name, in the order of the scorecard."""


def claim(
    name: str,
    statement: str,
    number: str,
    relation: str,
    threshold: float,
    *,
    averaged: bool = False,
    laxest: float = 0.0,
) -> Callable[[Measure], Measure]:
    """Return a decorator that adds a claim to `CLAIMS`, decided by the measure that it decorates. See `Claim`."""

    def add(measure: Measure) -> Measure:
        CLAIMS[name] = Claim(statement, number, relation, threshold, measure, averaged, laxest)
        return measure

    return add


# -- when a run is at the edge ---------------------------------------------------------------------------------------


def cycles(run: Run) -> int:
    """Return how many times an eigenvalue of the effective Hessian at the midpoints fell below 2 from 2 or above."""
    unstable = (run["midpoint"].effective_eigenvalues >= EDGE).sum("mode").values.astype(int)
    return int(np.maximum(-np.diff(unstable), 0).sum())


def oscillating(run: Run) -> xr.DataArray | None:
    """Return the steps at which the central flow has an oscillation; None if there are fewer than ten."""
    if "central" not in run:
        return None
    central = run["central"]
    steps = central.step[((central["rank"] > 0) & _returned(central)).values]
    return steps if len(steps) >= 10 else None


def _returned(flow: xr.Dataset) -> xr.DataArray:
    """Return a mask of the steps from which on a flow that started beyond the edge of stability is back at it.

    Before that, the flow depends on its relaxation time and predicts nothing.
    """
    back = ~(flow.effective_eigenvalues.isel(mode=0, drop=True) > 1.05 * EDGE)
    return flow.step >= (int(flow.step[int(back.values.argmax())]) if back.any() else 0)


def _ratio(run: Run, discrete: str, central: str) -> float | None:
    """Return the relative difference of the time means of a quantity and of its prediction; the median over weights."""
    steps = oscillating(run)
    if steps is None or discrete not in run["discrete"]:
        return None
    measured = run["discrete"][discrete].sel(step=steps).mean("step")
    predicted = run["central"][central].sel(step=steps).mean("step")
    return float(abs(predicted / measured - 1).median())


def averages_squares(run: Run) -> bool:
    """Return whether the state of the optimizer is nu, the average of squared gradients that the paper's claims name."""
    return "nu" in run["discrete"]


def compared(one: str, other: str, quantity: Callable[[xr.Dataset], xr.DataArray]) -> Measure:
    """Return the measure of a quantity of one flow over that of another, at the last step that both have.

    It is about optimizers that adapt their step size: only of them does the paper claim what the penalty does.
    """

    def measure(run: Run, width: float) -> float | None:
        if one not in run or other not in run or "state_total" not in run["discrete"]:
            return None
        both = xr.merge(
            [quantity(run[name]).rename(name) for name in (one, other)], compat="override", join="inner"
        ).dropna("step")
        return float(both[one][-1] / both[other][-1]) if both.sizes["step"] else None

    return measure


def speeds(measure: Callable[[xr.Dataset], xr.DataArray]) -> Measure:
    """Return the measure of a mean over the points of the central flow at which the stationary state oscillates."""

    def measured(run: Run, width: float) -> float | None:
        if "speeds" not in run:
            return None
        points = run["speeds"].where(run["speeds"]["rank"] > 0, drop=True)
        return float(measure(points).mean()) if points.sizes["step"] else None

    return measured


# -- the claims ------------------------------------------------------------------------------------------------------


@claim(
    "edge",
    "The effective sharpness equilibrates at 2.",
    "mean effective sharpness at midpoints over 2, minus one, in the second half of the time at the edge",
    "<=",
    0.1,
)
def sharpness_at_edge(run: Run, width: float) -> float | None:
    steps = at_edge(run)
    if steps is None:
        return None
    sharpness = run["midpoint"].effective_eigenvalues.isel(mode=0).sel(step=steps)
    return abs(float(sharpness.mean()) / EDGE - 1)


@claim(
    "critical",
    "Critical eigenvalues of the central flow stay at 2.",
    "relative distance from 2 of the modes that oscillate, 95th percentile",
    "<=",
    0.01,
)
def critical_eigenvalues(run: Run, width: float) -> float | None:
    steps = oscillating(run)
    if steps is None:
        return None
    central = run["central"].sel(step=steps)
    modes = central.mode <= central["rank"]
    # A mode that has just become critical is not yet at the edge of stability: the flow approaches it within a
    # relaxation time.
    off = abs(central.effective_eigenvalues / EDGE - 1).where(modes)
    return float(off.quantile(0.95))


@claim(
    "distance",
    "The optimizer stays nearer to its central flow than to its stable flow.",
    "distance to the central over that to the stable flow, at the stable flow's last step",
    "<=",
    0.5,
)
def distances(run: Run, width: float) -> float | None:
    if "central" not in run or "stable" not in run:
        return None
    last = last_known(run["stable"].distance)
    if last is None or last[1] == 0 or oscillating(run) is None:
        return None
    return float(run["central"].distance.sel(step=last[0])) / last[1]


@claim(
    "loss",
    "The central flow predicts the time-averaged loss.",
    "mean relative error of the prediction while the flow oscillates",
    "<=",
    0.05,
    averaged=True,
)
def predicted_loss(run: Run, width: float) -> float | None:
    steps = oscillating(run)
    if steps is None:
        return None
    average = time_average(run["discrete"].loss, width=width).sel(step=steps)
    return float(abs(run["central"].predicted_loss.sel(step=steps) / average - 1).mean())


@claim(
    "gradient-norm",
    "It predicts the time-averaged squared gradient norm.",
    "relative error of its mean while the flow oscillates",
    "<=",
    0.25,
)
def predicted_gradient_norm(run: Run, width: float) -> float | None:
    return _ratio(run, "gradient_norm_squared", "predicted_gradient_norm_squared")


@claim(
    "squared-gradients",
    "It predicts the time-averaged squared gradient of single weights.",
    "relative error of the means, median over weights",
    "<=",
    0.25,
)
def predicted_squared_gradients(run: Run, width: float) -> float | None:
    return _ratio(run, "gradient_squared", "predicted_gradient_squared")


@claim(
    "state",
    "It predicts nu (of single weights where each has its own).",
    "relative error of the means, median over weights",
    "<=",
    0.1,
)
def predicted_state(run: Run, width: float) -> float | None:
    if not averages_squares(run):
        return None
    if "state_coordinates" in run["discrete"]:
        return _ratio(run, "state_coordinates", "state_coordinates")
    return _ratio(run, "state_total", "state_total")


@claim(
    "variance",
    "It predicts the variance along each eigenvector of Sigma.",
    "binary logarithm of predicted over measured mean, of the eigenvector that exceeds its threshold most",
    "<=",
    STRICTEST,
    averaged=True,
    laxest=LAXEST,
)
def predicted_variances(run: Run, width: float) -> Estimate | None:
    """Return the estimate of the eigenvector that is worst beside its own accuracy, of those that oscillate for ten
    widths."""
    steps = oscillating(run)
    if steps is None:
        return None
    central = run["central"].sel(step=steps)
    known = np.isfinite(central.displacement) & (central.mode <= central["rank"])
    found = [
        _ratio_of_means(*(v.isel(mode=i).values[known.isel(mode=i).values] for v in pair))
        for pair in [(central.displacement**2, central.variances)]
        for i in range(known.sizes["mode"])
        if known.isel(mode=i).sum() >= 10 * width
    ]
    measured = [each for each in found if each is not None]
    return max(measured, key=lambda e: e.value / max(STRICTEST, min(LAXEST, e.bound))) if measured else None


def _ratio_of_means(measured: ndarray, predicted: ndarray, count: int = 8) -> Estimate | None:
    """Return |log2| of the ratio of two means, with its accuracy from the scatter between equal blocks of steps.

    It is None for fewer steps than blocks, or if nothing was measured.
    """
    if len(measured) < count or not measured.any():
        return None
    used = len(measured) // count * count
    blocks = (measured - predicted)[:used].reshape(count, -1).mean(1)
    error = float(blocks.std(ddof=1)) / count**0.5 / float(measured.mean())
    return Estimate(abs(float(np.log2(predicted.mean() / measured.mean()))), float(np.log2(1 + 2 * error)))


@claim(
    "monotone",
    "The loss L(w(t)) along the central flow decreases monotonically.",
    "largest rise in one step over the whole fall",
    "<=",
    0.001,
)
def monotone(run: Run, width: float) -> float | None:
    if "central" not in run:
        return None
    central = run["central"]
    loss = central.loss.where(_returned(central)).dropna("step").values
    return float(np.diff(loss).max() / (loss[0] - loss.min())) if len(loss) > 1 and loss.min() < loss[0] else None


@claim(
    "step-size",
    "The effective step size of Scalar RMSProp is 2/S at the edge.",
    "mean step size times S/2, minus one, in the second half of the time at the edge",
    "<=",
    0.1,
)
def adapted_step(run: Run, width: float) -> float | None:
    discrete, steps = run["discrete"], at_edge(run)
    one_step_size = averages_squares(run) and bool(discrete.attrs.get("isotropic"))
    sharpness = run["midpoint"].hessian_eigenvalues.isel(mode=0)
    if steps is None or not one_step_size or not np.isfinite(sharpness.sel(step=steps)).all():
        return None
    return abs(float((discrete.step_size * sharpness).sel(step=steps).mean()) / EDGE - 1)


claim(
    "ablated-sharper",
    "Without the curvature penalty the flow goes into sharper regions.",
    "sharpness of the ablated over that of the central flow, at the end",
    ">=",
    1.05,
)(compared("ablated", "central", lambda flow: flow.hessian_eigenvalues.isel(mode=0, drop=True)))


claim(
    "ablated-steps",
    "There its steps are smaller.",
    "effective step size of the ablated over that of the central flow, at the end",
    "<=",
    0.95,
)(compared("ablated", "central", lambda flow: flow.step_size))


claim(
    "ablated-slower",
    "It is slower.",
    "loss of the ablated over that of the central flow, at the end",
    ">=",
    1.05,
)(compared("ablated", "central", lambda flow: flow.loss))


@claim(
    "stationary-nu",
    "nu converges to its stationary value.",
    "cosine between them at the last point",
    ">=",
    0.95,
)
def cosine(run: Run, width: float) -> float | None:
    return float(run["speeds"].cosine[-1]) if "speeds" in run and run["speeds"].sizes["step"] else None


claim(
    "stationary-penalty",
    "With nu at its stationary value the flow follows RMSProp by means of the curvature penalty.",
    "distance to the stationary flow over that to the same without penalty, at the last step of both",
    "<=",
    0.95,
)(compared("stationary", "stationary-ablated", lambda flow: flow.distance))


claim(
    "curvature-faster",
    "The preconditioner of curvature alone is faster than gradient descent at its edge.",
    "share of points at the edge where it is",
    ">=",
    0.9,
)(speeds(lambda points: points.speed_curvature > points.speed_gradient_descent))


claim(
    "stationary-slower",
    "RMSProp's stationary preconditioner is slower than that of curvature alone.",
    "share of points at the edge where it is",
    ">=",
    0.9,
)(speeds(lambda points: points.speed_stationary < points.speed_curvature))

LARGER_LR = Claim(
    "The larger the learning rate, the lower the sharpness at the same loss.",
    "share of neighbouring learning rates for which it is, at the first loss that all of them reach at the edge",
    ">=",
    1.0,
    lambda run, width: None,
)
