"""The settings of the processes: which eigenvalues are tracked, and how each flow is integrated."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ..common.references import load
from .strict import AlsoText, Count, Natural, Positive, Strict


class SpectrumConfig(Strict):
    """Which eigenvalues of the effective Hessian are tracked."""

    threshold: Positive = 1.5
    """all eigenvalues above it are tracked, and one below it (the stable flow tracks only `minimum`)"""
    minimum: Count = 1
    """smallest number of tracked eigenvalues"""
    maximum: Annotated[int, Field(ge=1, le=64)] = 16
    """largest number of tracked eigenvalues"""
    tolerance: Annotated[float, Field(gt=0, le=1e-2), AlsoText] = 8e-5
    """bound on the residual of eigenpairs above the threshold, relative to the largest eigenvalue; ten times as large
    for those below it and along the stable flow, which affect no other result; their eigenvalues are still accurate to
    1e-4, most of them to 1e-5"""
    hessian_every: Natural = 0
    """steps between solves for the eigenvalues of the Hessian itself, if each weight has its own step size (0: never;
    with one step size for all weights they cost nothing extra)"""

    def mistakes(self) -> Iterator[str]:
        if self.minimum > self.maximum:
            yield f"minimum: must be at most maximum ({self.maximum}) (got {self.minimum})"


MARGIN = 0.15
"""The central flow considers modes up to this distance below the critical threshold; such modes are tracked."""
SETTLED = 1.5
"""Effective eigenvalue above which modes take part in a stationary state."""

FixedStepMethod = Literal["euler", "midpoint", "heun2", "heun3", "jameson3", "rk4"]


class IntegrationConfig(Strict):
    """How a unit of time (one optimizer step) is integrated."""

    method: FixedStepMethod = "euler"
    """fixed-step method of torchdiffeq, or jameson3 (three stages, second order)"""
    substeps: Count = 4
    """equal steps per unit of time"""

    flows: ClassVar[Mapping[str, str]] = {}
    """references to the flows that use these settings, by process"""

    @property
    def sharpness_limit(self) -> float:
        """Effective sharpness at which the flow is abandoned."""
        return math.inf

    def build(self, process: str, spectrum: SpectrumConfig, *problem: Any) -> tuple[Any, Any]:
        """Return the flow of a process and its integrator (see `flows.flow.Flow.configured`)."""
        return load(self.flows[process]).configured(self, spectrum, *problem)


class CentralConfig(IntegrationConfig):
    """The central flow and the ablated flow. The relaxation time is 1/substeps, or half of that for heun3, jameson3 and
    rk4, which are stable with it. With followed third derivatives, the relaxation time and the steps are a third of
    that while the effective sharpness exceeds 2.02. The published discretisation is
    `{method: euler, substeps: 4, third_derivatives: fresh}`."""

    flows: ClassVar[Mapping[str, str]] = {
        "central": "centralflows.flows.central_flow:CentralFlow",
        "ablated": "centralflows.flows.central_flow:AblatedFlow",
    }

    method: FixedStepMethod = "jameson3"
    """fixed-step method of torchdiffeq, or jameson3 (three stages, second order, as accurate as two steps of heun2);
    with followed third derivatives, a step of heun2 replaces it far below the edge of stability"""
    substeps: Count = 1
    """equal steps per unit of time at the edge of stability; with followed third derivatives, fewer below it and more
    above it, in proportion to the sharpness"""
    critical_threshold: Annotated[float, Field(gt=0, le=2), AlsoText] = 1.95
    """modes with a larger effective eigenvalue enter the complementarity problem; at least 0.15 above
    spectrum.threshold"""
    third_derivatives: Literal["followed", "fresh"] = "followed"
    """followed: evaluated at most once per unit of time and extrapolated, while that is accurate; fresh: evaluated with
    every velocity, as in the published discretisation"""
    tolerance: Annotated[float, Field(gt=0, le=0.1), AlsoText] = 3e-2
    """bound on the relative error of followed third derivatives"""
    step_tolerance: Annotated[float, Field(ge=1e-3), AlsoText] = 5e-2
    """bound on the estimated error of a unit of time in the weights, relative to its move, and 0.4 of that where no mode is
    critical; a unit with a larger error is divided into up to 64 parts, each with its own solve of the spectrum; with
    fresh third derivatives, errors are estimated and recorded only"""
    held_slack: Literal["rayleigh", "full"] = "rayleigh"
    """part of the slack that is held between two solves of the spectrum if third derivatives are fresh; rayleigh is the
    published discretisation"""


PUBLISHED_CENTRAL = CentralConfig(method="euler", substeps=4, third_derivatives="fresh")
"""The discretisation of the central flow in the published implementation."""


class StableConfig(IntegrationConfig):
    """The stable flow (for gradient descent: gradient flow)."""

    flows: ClassVar[Mapping[str, str]] = {"stable": "centralflows.flows.stable_flow:StableFlow"}

    method: FixedStepMethod | Literal["rkc2", "bosh3", "dopri5"] = "rkc2"
    """rkc2 (stabilised steps of second order) or a method of torchdiffeq; of these, bosh3 and dopri5 choose their own
    steps"""
    substeps: Count = 3
    """smallest number of equal steps per unit of time; bosh3 and dopri5 begin with a step of this size, rkc2 chooses
    its own"""
    substeps_per_sharpness: Annotated[float, Field(ge=0.5), AlsoText] = 0.6
    """smallest number of substeps per unit of effective sharpness, for stiff flows; rkc2 takes more stages instead,
    until it is equally stable"""
    tolerance: Annotated[float, Field(ge=1e-3, le=0.1), AlsoText] = 3e-2
    """bound on the error of each step of rkc2 in the weights, relative to its length; a step with a larger error is
    halved"""
    rtol: Positive = 1e-5
    """relative error of each step of bosh3 and dopri5"""
    atol: Positive = 1e-7
    """absolute error of each step of bosh3 and dopri5 [weight]"""
    stop_at_sharpness: Positive = 100.0
    """effective sharpness at which the flow is abandoned"""
    stop_at_evaluations: Count = 10_000
    """evaluations of the gradient in one unit of time at which the flow is abandoned"""

    @property
    def sharpness_limit(self) -> float:
        return self.stop_at_sharpness


PUBLISHED_STABLE = StableConfig(method="euler", substeps=4, substeps_per_sharpness=2)
"""The discretisation of the stable flow in the published implementation."""


class StationaryConfig(IntegrationConfig):
    """The stationary flow, with and without the curvature penalty."""

    flows: ClassVar[Mapping[str, str]] = {
        "stationary": "centralflows.flows.stationary_flow:StationaryFlow",
        "stationary-ablated": "centralflows.flows.stationary_flow:StationaryAblatedFlow",
    }

    tolerance: Annotated[float, Field(gt=0, le=0.1), AlsoText] = 1e-4
    """bound on the remaining drift of the optimizer's state, relative to the state"""
