"""The settings of optimizers and of learning-rate schedules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
)

from .strict import AlsoText, Count, PluginConfig, Positive, Strict, one_of


class WarmupConfig(Strict):
    """Rises linearly from 0, and stays."""

    implementation: ClassVar[str] = "centralflows.optimizers.schedules:warmup"

    name: Literal["warmup"]
    steps: Count
    """step at which it reaches the learning rate"""


class CosineConfig(Strict):
    """Falls along half a cosine, and stays."""

    implementation: ClassVar[str] = "centralflows.optimizers.schedules:cosine"

    name: Literal["cosine"]
    steps: Count
    """step at which it ends"""
    final: Annotated[float, Field(ge=0, le=1), AlsoText] = 0.0
    """what is left then, as a factor of the learning rate"""


class PiecewiseConfig(Strict):
    """Constant between given steps."""

    implementation: ClassVar[str] = "centralflows.optimizers.schedules:piecewise"

    name: Literal["piecewise"]
    steps: tuple[Count, ...] = Field(min_length=1, strict=False)
    """steps at which it changes, increasing"""
    factors: tuple[Positive, ...] = Field(min_length=1, strict=False)
    """factors of the learning rate from each of them on"""

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
    """how the learning rate changes with the optimizer's step counter, which is 1 at its first step; constant when left out"""

    def arguments(self) -> dict[str, Any]:
        """Return what its implementation is called with, beside the learning rate."""
        return self.model_dump(exclude={"name", "lr", "schedule"})


class GradientDescentConfig(OptimizerConfig):
    """Gradient descent. Its edge of stability is at sharpness 2 / lr."""

    implementation: ClassVar[str] = "centralflows.optimizers.gd:GradientDescent"

    name: Literal["gd"]


class SquaredGradientAverageConfig(OptimizerConfig):
    beta2: Annotated[float, Field(gt=0, lt=1), AlsoText] = 0.99
    """how much of the average of squared gradients is kept at each step"""
    eps: Annotated[float, Field(ge=0), AlsoText] = 0.0
    """added to the root of the average"""
    bias_correction: bool = False
    """whether the average is divided by its total weight so far"""


class ScalarRMSPropConfig(SquaredGradientAverageConfig):
    """Scalar RMSProp: one step size, from an average of the squared norm of the gradient."""

    implementation: ClassVar[str] = "centralflows.optimizers.scalar_rmsprop:ScalarRMSProp"

    name: Literal["scalar-rmsprop"]


class RMSPropConfig(SquaredGradientAverageConfig):
    """RMSProp: a step size for each weight, from an average of its squared gradient."""

    implementation: ClassVar[str] = "centralflows.optimizers.rmsprop:RMSProp"

    name: Literal["rmsprop"]


class OptimizerPluginConfig(OptimizerConfig, PluginConfig):
    """A subclass of `centralflows.Optimizer` of your own, called with `lr` (a number, or a schedule's function of the step
    counter) and the keys that follow."""


AnyOptimizer = one_of(GradientDescentConfig, ScalarRMSPropConfig, RMSPropConfig, OptimizerPluginConfig)
