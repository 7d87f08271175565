"""The settings of the processes: which eigenvalues are tracked, and how each flow is integrated."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
)

from ..common.references import load
from .strict import AlsoText, Count, Natural, Positive, Strict


class SpectrumConfig(Strict):
    """Which eigenvalues of the effective Hessian are tracked."""

    threshold: Positive = 1.5
    """all above it are tracked, and one below (the stable flow tracks `minimum` only)"""
    minimum: Count = 1
    """least number tracked"""
    maximum: Annotated[int, Field(ge=1, le=64)] = 16
    """most that can be tracked"""
    tolerance: Annotated[float, Field(gt=0, le=1e-2), AlsoText] = 8e-5
    """on the residual of eigenpairs above the threshold, relative to the largest eigenvalue; ten times as much for those below
    it and along the stable flow, which act on nothing, and whose values are right to a ten thousandth all the same, most of
    them to a hundred thousandth"""
    hessian_every: Natural = 0
    """steps between solves for the eigenvalues of the Hessian itself, where each weight has a step size of its own (0:
    never; with one step size for all they come for free)"""

    def mistakes(self) -> Iterator[str]:
        if self.minimum > self.maximum:
            yield f"minimum: must be at most maximum ({self.maximum}) (got {self.minimum})"


MARGIN = 0.15
"""Distance of a mode below the critical threshold from which on the central flow looks at it; such modes are tracked."""
SETTLED = 1.5
"""Effective eigenvalue above which modes take part in a stationary state."""

FixedStep = Literal["euler", "midpoint", "heun2", "heun3", "jameson3", "rk4"]


class IntegrationConfig(Strict):
    """How a unit of time (one optimizer step) is integrated."""

    method: FixedStep = "euler"
    """fixed-step method of torchdiffeq, or jameson3, of three stages and second order"""
    substeps: Count = 4
    """equal steps per unit of time"""

    flows: ClassVar[Mapping[str, str]] = {}
    """references to the flows that these settings belong to, by process"""

    @property
    def sharpness_limit(self) -> float:
        """Effective sharpness at which the flow is given up."""
        return math.inf

    def build(self, process: str, spectrum: SpectrumConfig, *problem: Any) -> tuple[Any, Any]:
        """Return the flow of a process and its integrator (see `flows.flow.Flow.configured`)."""
        return load(self.flows[process]).configured(self, spectrum, *problem)


class CentralConfig(IntegrationConfig):
    """The central flow, and the ablated one. The relaxation time is 1/substeps, or half of that for heun3, jameson3 and rk4,
    which are stable for it; with followed third derivatives, it and the steps are a third of that while the effective
    sharpness exceeds 2.02. The published discretisation is `{method: euler, substeps: 4, third_derivatives: fresh}`."""

    flows: ClassVar[Mapping[str, str]] = {
        "central": "centralflows.flows.central_flow:CentralFlow",
        "ablated": "centralflows.flows.central_flow:AblatedFlow",
    }

    method: FixedStep = "jameson3"
    """fixed-step method of torchdiffeq, or jameson3, of three stages and second order, as accurate as two steps of heun2; with
    followed third derivatives, it gives way to a step of heun2 far below the edge"""
    substeps: Count = 1
    """equal steps per unit of time at the edge of stability; with followed third derivatives fewer below it and more above, in
    proportion to the sharpness"""
    critical_threshold: Annotated[float, Field(gt=0, le=2), AlsoText] = 1.95
    """modes with a larger effective eigenvalue enter the complementarity problem; at least 0.15 above spectrum.threshold"""
    third_derivatives: Literal["followed", "fresh"] = "followed"
    """followed: evaluated at most once per unit of time, and extrapolated while that is accurate; fresh: at every evaluation of
    the velocity, as in the published discretisation"""
    tolerance: Annotated[float, Field(gt=0, le=0.1), AlsoText] = 3e-2
    """on the relative error of third derivatives that are followed"""
    held_slack: Literal["rayleigh", "full"] = "rayleigh"
    """what is kept of the slack between two solves of the spectrum where third derivatives are fresh; rayleigh is the published
    discretisation"""


PUBLISHED_CENTRAL = CentralConfig(method="euler", substeps=4, third_derivatives="fresh")
"""The discretisation of the published implementation."""


class StableConfig(IntegrationConfig):
    """The stable flow (for gradient descent: gradient flow)."""

    flows: ClassVar[Mapping[str, str]] = {"stable": "centralflows.flows.stable_flow:StableFlow"}

    method: FixedStep | Literal["rkc2", "bosh3", "dopri5"] = "rkc2"
    """rkc2: stabilised steps of second order; or a method of torchdiffeq, of which bosh3 and dopri5 choose their steps
    themselves"""
    substeps: Count = 3
    """equal steps per unit of time, and the fewest; bosh3 and dopri5 begin with one of them, rkc2 chooses its own"""
    substeps_per_sharpness: Annotated[float, Field(ge=0.5), AlsoText] = 0.6
    """further substeps as the flow grows stiff: the least number per unit of effective sharpness; rkc2 takes more stages
    instead, until it is stable as far"""
    tolerance: Annotated[float, Field(ge=1e-3, le=0.1), AlsoText] = 3e-2
    """on the error of each step of rkc2 in the weights, relative to how far it goes; where it is larger, the step is halved"""
    rtol: Positive = 1e-5
    """relative error of each step of bosh3 and dopri5"""
    atol: Positive = 1e-7
    """absolute error of each step of bosh3 and dopri5 [weight]"""
    stop_at_sharpness: Positive = 100.0
    """effective sharpness at which the flow is given up"""
    stop_at_evaluations: Count = 10_000
    """evaluations of the gradient in one unit of time at which the flow is given up"""

    @property
    def sharpness_limit(self) -> float:
        return self.stop_at_sharpness


PUBLISHED_STABLE = StableConfig(method="euler", substeps=4, substeps_per_sharpness=2)
"""That of its stable flow."""


class StationaryConfig(IntegrationConfig):
    """The stationary flow, with and without its curvature penalty."""

    flows: ClassVar[Mapping[str, str]] = {
        "stationary": "centralflows.flows.stationary_flow:StationaryFlow",
        "stationary-ablated": "centralflows.flows.stationary_flow:StationaryAblatedFlow",
    }

    tolerance: Annotated[float, Field(gt=0, le=0.1), AlsoText] = 1e-4
    """on what is left of the drift of the optimizer's state, relative to the state"""
