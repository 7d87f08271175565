"""The paper's claims about one run: what each says, the number that decides it, and the threshold that it is held against."""

from __future__ import annotations

from typing import NamedTuple

from . import measures
from .measures import Measure

HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"


class Claim(NamedTuple):
    """A statement of the paper that one number decides.

    Attributes:
        statement: what is claimed.
        number: what is measured.
        relation: how it must stand to the threshold, "<=" or ">=".
        threshold: what is still taken for agreement.
        measure: the number of a run at a width of the time averages [steps]; None where the claim does not apply.
        averaged: whether the number depends on the width.
    """

    statement: str
    number: str
    relation: str
    threshold: float
    measure: Measure
    averaged: bool = False

    def verdict(self, *values: float) -> str:
        """Whether the claim holds for each of some measurements of the same thing, or not for any."""
        right = {v <= self.threshold if self.relation == "<=" else v >= self.threshold for v in values}
        return UNDECIDED if len(right) > 1 else HOLDS if right == {True} else FAILS


CLAIMS: dict[str, Claim] = {
    "edge": Claim(
        "The effective sharpness equilibrates at 2.",
        "mean effective sharpness at midpoints over 2, minus one, in the second half of the time at the edge",
        "<=",
        0.1,
        measures.sharpness_at_edge,
    ),
    "critical": Claim(
        "Critical eigenvalues of the central flow stay at 2.",
        "relative distance from 2 of the modes that oscillate, 95th percentile",
        "<=",
        0.01,
        measures.critical_eigenvalues,
    ),
    "distance": Claim(
        "The optimizer stays nearer to its central flow than to its stable flow.",
        "distance to the central over that to the stable flow, at the stable flow's last step",
        "<=",
        0.5,
        measures.distances,
    ),
    "loss": Claim(
        "The central flow predicts the time-averaged loss.",
        "mean relative error of the prediction while the flow oscillates",
        "<=",
        0.05,
        measures.predicted_loss,
        averaged=True,
    ),
    "gradient-norm": Claim(
        "It predicts the time-averaged squared gradient norm.",
        "relative error of its mean while the flow oscillates",
        "<=",
        0.25,
        measures.predicted_gradient_norm,
    ),
    "squared-gradients": Claim(
        "It predicts the time-averaged squared gradient of single weights.",
        "relative error of the means, median over weights",
        "<=",
        0.25,
        measures.predicted_squared_gradients,
    ),
    "state": Claim(
        "It predicts nu (of single weights where each has its own).",
        "relative error of the means, median over weights",
        "<=",
        0.1,
        measures.predicted_state,
    ),
    "variance": Claim(
        "It predicts the variance along each eigenvector of Sigma.",
        "binary logarithm of predicted over measured mean, largest over eigenvectors that oscillate for five widths",
        "<=",
        0.5,
        measures.predicted_variances,
        averaged=True,
    ),
    "monotone": Claim(
        "The loss L(w(t)) along the central flow decreases monotonically.",
        "largest rise in one step over the whole fall",
        "<=",
        0.001,
        measures.monotone,
    ),
    "step-size": Claim(
        "The effective step size of Scalar RMSProp is 2/S at the edge.",
        "mean step size times S/2, minus one, in the second half of the time at the edge",
        "<=",
        0.1,
        measures.adapted_step,
    ),
    "ablated-sharper": Claim(
        "Without the curvature penalty the flow goes into sharper regions.",
        "sharpness of the ablated over that of the central flow, at the end",
        ">=",
        1.05,
        measures.compared("ablated", "central", lambda flow: flow.hessian_eigenvalues.isel(mode=0, drop=True)),
    ),
    "ablated-steps": Claim(
        "There its steps are smaller.",
        "effective step size of the ablated over that of the central flow, at the end",
        "<=",
        0.95,
        measures.compared("ablated", "central", lambda flow: flow.step_size),
    ),
    "ablated-slower": Claim(
        "It is slower.",
        "loss of the ablated over that of the central flow, at the end",
        ">=",
        1.0,
        measures.compared("ablated", "central", lambda flow: flow.loss),
    ),
    "stationary-nu": Claim(
        "nu converges to its stationary value.", "cosine between them at the last point", ">=", 0.95, measures.cosine
    ),
    "stationary-penalty": Claim(
        "With nu at its stationary value the flow follows RMSProp by means of the curvature penalty.",
        "distance to the stationary flow over that to the same without penalty, at the last step of both",
        "<=",
        0.95,
        measures.compared("stationary", "stationary-ablated", lambda flow: flow.distance),
    ),
    "curvature-faster": Claim(
        "The preconditioner of curvature alone is faster than gradient descent at its edge.",
        "share of points at the edge where it is",
        ">=",
        0.9,
        measures.speeds(lambda points: points.speed_curvature > points.speed_gradient_descent),
    ),
    "stationary-slower": Claim(
        "RMSProp's stationary preconditioner is slower than that of curvature alone.",
        "share of points at the edge where it is",
        ">=",
        0.9,
        measures.speeds(lambda points: points.speed_stationary < points.speed_curvature),
    ),
}
"""Claims about one run, by name."""

LARGER_LR = Claim(
    "The larger the learning rate, the lower the sharpness at the same loss.",
    "share of neighbouring learning rates for which it is, at the first loss that all of them reach at the edge",
    ">=",
    1.0,
    lambda run, width: None,
)
