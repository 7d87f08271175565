"""The settings of the loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Discriminator,
    Tag,
)

from .messages import BUILT_IN, DOTTED, PLUGIN
from .strict import DottedPath, PluginConfig


class CriterionPluginConfig(PluginConfig):
    """A user-defined function `(outputs, labels) -> loss`, to which the remaining keys are passed too; or a class,
    which is instantiated with them and whose instance is called."""


def _criterion_tag(value: Any) -> str:
    if isinstance(value, (Mapping, PluginConfig)):
        return PLUGIN
    return DOTTED if isinstance(value, str) and ":" in value else BUILT_IN


AnyCriterion = Annotated[
    Annotated[Literal["mse", "cross-entropy"], Tag(BUILT_IN)]
    | Annotated[DottedPath, AfterValidator(lambda path: CriterionPluginConfig(name=path)), Tag(DOTTED)]
    | Annotated[CriterionPluginConfig, Tag(PLUGIN)],
    Discriminator(_criterion_tag),
]
