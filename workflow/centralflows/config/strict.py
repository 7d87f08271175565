"""Shared parts of the configuration: strict models, types of numbers, unions of named models."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any, ClassVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from .messages import DOTTED_PATH, PLUGIN, shown

LARGEST = 2**31 - 1  # a larger size is a typing error


def _number(value: Any) -> Any:
    """Return text as a number if it is one: YAML 1.1 takes 1e-3, without a point, for text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


AlsoText = BeforeValidator(_number)
Positive = Annotated[float, Field(gt=0), AlsoText]
Count = Annotated[int, Field(ge=1, le=LARGEST)]
Natural = Annotated[int, Field(ge=0, le=LARGEST)]
Name = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=100)
]  # file systems allow 255 bytes, with suffixes


class Strict(BaseModel):
    """A model that rejects unknown keys and values of another type."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    implementation: ClassVar[str] = ""
    """reference to the object that these settings configure, if there is only one"""

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the implementation."""
        return self.model_dump(exclude={"name"})

    def mistakes(self) -> Iterator[str]:
        """Yield mistakes in combinations of keys that are valid one by one, as `key: message`."""
        yield from ()

    @model_validator(mode="after")
    def _no_mistakes(self) -> Strict:
        if found := list(self.mistakes()):
            raise ValueError("\n".join(found))
        return self


def _tag(value: Any) -> str | None:
    """Return the tag of a value in a union of named models: its `name`, or `PLUGIN` if that is a dotted path."""
    name = value.get("name") if isinstance(value, Mapping) else getattr(value, "name", None)
    if not isinstance(name, str):
        return None if name is None else ""  # no model has the name ""
    return PLUGIN if ":" in name else name


def one_of(*models: type[Strict]) -> Any:
    """Return the union of models, discriminated by their `name`."""
    names = [(get_args(model.model_fields["name"].annotation) or (PLUGIN,))[0] for model in models]
    tagged = tuple(Annotated[model, Tag(name)] for model, name in zip(models, names, strict=True))
    return Annotated[reduce(or_, tagged), Discriminator(_tag)]


DottedPath = Annotated[str, Field(pattern=DOTTED_PATH)]


class PluginConfig(Strict):
    """A user-defined part, whose arguments are the remaining keys."""

    model_config = ConfigDict(extra="allow")

    name: DottedPath
    """package.module:Name"""

    @property
    def options(self) -> dict[str, Any]:
        """The arguments, as a copy that the plugin may change."""
        return copy.deepcopy(self.model_extra or {})

    def mistakes(self) -> Iterator[str]:
        for key, value in self.options.items():
            if not _is_plain(value):
                yield f"{key}: must be made of numbers, text, lists and mappings (got {shown(value)})"


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(part) for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value))


def implementations(*parts: Any) -> list[str]:
    """Return the references to the code that settings configure, including nested settings."""
    found: list[str] = []
    for part in parts:
        if isinstance(part, Strict):
            found += [part.implementation] if part.implementation else []
            found += implementations(*(getattr(part, key) for key in type(part).model_fields))
    return found
