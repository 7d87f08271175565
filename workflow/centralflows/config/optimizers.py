"""The settings of optimizers and of learning-rate schedules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
)

from .strict import AlsoText, Count, PluginConfig, Positive, Strict, one_of


class WarmupConfig(Strict):
    """Rises linearly from 0, then stays constant."""

    implementation: ClassVar[str] = "centralflows.optimizers.schedules:warmup"

    name: Literal["warmup"]
    steps: Count
    """step at which the rise ends"""


class CosineConfig(Strict):
    """Falls along half a cosine, then stays constant."""

    implementation: ClassVar[str] = "centralflows.optimizers.schedules:cosine"

    name: Literal["cosine"]
    steps: Count
    """step at which the fall ends"""
    final: Annotated[float, Field(ge=0, le=1), AlsoText] = 0.0
    """final factor of the learning rate"""


class PiecewiseConfig(Strict):
    """Constant between given steps."""

    implementation: ClassVar[str] = "centralflows.optimizers.schedules:piecewise"

    name: Literal["piecewise"]
    steps: tuple[Count, ...] = Field(min_length=1, strict=False)
    """steps at which the learning rate changes, increasing"""
    factors: tuple[Positive, ...] = Field(min_length=1, strict=False)
    """factors of the learning rate, each from its step on"""

    def mistakes(self) -> Iterator[str]:
        if len(self.steps) != len(self.factors):
            yield f"factors: must be as many as steps ({len(self.steps)}) (got {len(self.factors)})"
        if list(self.steps) != sorted(set(self.steps)):
            yield "steps: must increase"


AnySchedule = Annotated[WarmupConfig | CosineConfig | PiecewiseConfig, Field(discriminator="name")]


class OptimizerConfig(Strict):
    lr: Positive
    """learning rate"""
    schedule: AnySchedule | None = None
    """how the learning rate changes with the optimizer's step counter, which is 1 at its first step; constant if
    omitted"""

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the implementation, besides the learning rate."""
        return self.model_dump(exclude={"name", "lr", "schedule"})


class GradientDescentConfig(OptimizerConfig):
    """Gradient descent. Its edge of stability is at sharpness 2 / lr."""

    implementation: ClassVar[str] = "centralflows.optimizers.gd:GradientDescent"

    name: Literal["gd"]


class SquaredGradientAverageConfig(OptimizerConfig):
    beta2: Annotated[float, Field(gt=0, lt=1), AlsoText] = 0.99
    """fraction of the average of squared gradients that each step keeps"""
    eps: Annotated[float, Field(ge=0), AlsoText] = 0.0
    """added to the root of the average"""
    bias_correction: bool = False
    """whether the average is divided by the sum of its weights so far"""


class ScalarRMSPropConfig(SquaredGradientAverageConfig):
    """Scalar RMSProp: one step size, from an average of the squared norm of the gradient."""

    implementation: ClassVar[str] = "centralflows.optimizers.scalar_rmsprop:ScalarRMSProp"

    name: Literal["scalar-rmsprop"]


class RMSPropConfig(SquaredGradientAverageConfig):
    """RMSProp: one step size per weight, from an average of its squared gradient."""

    implementation: ClassVar[str] = "centralflows.optimizers.rmsprop:RMSProp"

    name: Literal["rmsprop"]


class OptimizerPluginConfig(OptimizerConfig, PluginConfig):
    """A user-defined subclass of `centralflows.Optimizer`, called with `lr` (a number, or a schedule's function of the
    step counter) and the remaining keys."""


AnyOptimizer = one_of(GradientDescentConfig, ScalarRMSPropConfig, RMSPropConfig, OptimizerPluginConfig)
