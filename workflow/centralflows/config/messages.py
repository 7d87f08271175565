"""Messages for mistakes in a configuration: the key, the mistake, and valid alternatives."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

Path = Sequence[int | str]


class ConfigError(ValueError):
    """An invalid configuration; the message lists every mistake, one per line."""


def report(source: str, lines: Sequence[str]) -> ConfigError:
    """Return the error that lists these mistakes, each as `key: message`."""
    return ConfigError(
        "\n".join(
            [f"ConfigError: {source} has {len(lines)} error{'s' if len(lines) > 1 else ''}"]
            + [f"  {line}" for line in lines]
            + ["Every key is described in config/README.md."]
        )
    )


PLUGIN = "[plugin]"
"""Tag of plugins, which a dotted path names, in a union of named models."""

BUILT_IN, DOTTED = "[name]", "[path]"
"""Tags of text (a built-in name or a dotted path) in a union that also allows other types."""

NUMBER = "[number]"
"""Tag of a number in a union that also allows a word."""

_BETWEEN = {"[key]", PLUGIN, BUILT_IN, DOTTED, NUMBER}  # inserted by pydantic between the keys of a path

DOTTED_PATH = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"

_WORDING = {
    "missing": "is missing",
    "union_tag_not_found": "needs a `name`",
    "string_pattern_mismatch": "must be made of lower-case letters, digits and hyphens, the first not a hyphen",
    "string_too_short": "must not be empty",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be finite",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping of keys",
    "model_type": "must be a mapping of keys",
    "model_attributes_type": "must be a mapping of keys",
    "too_short": "must have at least one entry",
    "invalid_key": "a key must be text",
}


def messages(
    error: ValidationError, root: type[BaseModel], *, also: Sequence[str], origin: Callable[[Path], Path]
) -> Iterator[str]:
    """Yield one line per mistake that pydantic found.

    Args:
        root: the model that was validated.
        also: valid keys of the file that are not fields of the root.
        origin: maps the path of a key in the model to its path in the file.
    """
    for item in error.errors(include_url=False):
        path, known = _walk(item["loc"], root, also)
        kind, value = item["type"], item["input"]
        where = dotted(origin(path))
        if kind == "value_error":  # lines of `key: message`, from `Strict.mistakes`
            for line in str(item["ctx"]["error"]).splitlines():
                keys, _, message = line.partition(": ")
                yield f"{dotted(origin([*path, *keys.split('.')]))}: {message}"
        elif kind == "extra_forbidden":
            yield f"{where}: unknown key{instead(path[-1], known)}"
        elif kind == "union_tag_invalid":
            known = [tag for tag in re.findall("'([^']*)'", item["ctx"]["expected_tags"]) if tag != PLUGIN]
            yield f"{where}.name: nothing is called {shown(value['name'])}{instead(value['name'], known)}"
        elif kind == "union_tag_not_found" and not isinstance(value, Mapping):
            yield f"{where}: must be a mapping of keys (got {shown(value)})"
        elif kind == "string_pattern_mismatch" and item["ctx"]["pattern"] == DOTTED_PATH:
            yield f"{where}: must be a path like package.module:Name (got {shown(value)})"
        else:
            message = _WORDING.get(kind) or re.sub("^(Input|Value|String) should ", "must ", item["msg"])
            got = "" if kind in ("missing", "too_short", "union_tag_not_found") else f" (got {shown(value)})"
            yield f"{where}: {message}{got}"


def _walk(location: Path, root: type[BaseModel], also: Sequence[str]) -> tuple[Path, Sequence[str]]:
    """Return the path of keys to a mistake, without the parts that pydantic inserts, and the valid keys at its end."""
    path: list[int | str] = []
    models, known, named = [root], also, False
    for part in location:
        if named:  # a name that the user gave, in `runs` or `figures`
            path.append(part)
            named = False
        elif len(models) > 1:  # the tag of a union
            models = [
                model for model in models if part in (get_args(model.model_fields["name"].annotation) or (PLUGIN,))
            ]
        elif part not in _BETWEEN:
            path.append(part)
            fields = models[0].model_fields if models else {}
            known = [*fields, *also] if models == [root] else list(fields)
            annotation = fields[part].annotation if part in fields else None
            models, named = models_in(annotation), get_origin(annotation) is dict
    return path, known


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models in an annotation, such as the members of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


def dotted(path: Path) -> str:
    """Return a path of keys as one dotted word."""
    return ".".join(map(shown_key, path))


def instead(word: Any, known: Iterable[Any]) -> str:
    """Return a hint: the known name that is closest to a wrong one, or a list of the known names."""
    known = list(known)
    nearest = difflib.get_close_matches(str(word)[:60], [name for name in known if isinstance(name, str)], n=1)
    if nearest:
        return f"; did you mean {shown(nearest[0])}?"
    listed = ", ".join(map(shown_key, known[:20])) + (", ..." if len(known) > 20 else "")
    return f"; there are {listed}" if known else ""


def shown_key(part: Any) -> str:
    """Return a key as it appears in a path."""
    return part if isinstance(part, str) and re.fullmatch(r"[\w-][\w -]{0,59}", part) else shown(part)


def shown(value: Any) -> str:
    """Return a short text for a value, if possible as the user wrote it."""
    if isinstance(value, (Mapping, list, tuple, set)):
        return "a mapping" if isinstance(value, Mapping) else "a list"
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    try:
        text = repr(value)
    except ValueError:  # Python does not print integers of more than 4300 digits
        return "a huge number"
    return text if len(text) <= 80 else f"{text[:60]}..."
