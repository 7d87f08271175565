"""Reads configuration files: YAML that holds only data, of limited size.

PyYAML keeps the last of two equal keys, expands aliases of aliases without limit, and does not name the key of a
malformed value. Therefore the nodes of a file are inspected first, while aliases still share one node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from .messages import ConfigError, dotted, report, shown

LARGEST = 1 << 18
"""Largest size of a file [bytes]; the longest profile has 11 thousand."""

MOST = 50_000
"""Largest number of values in a file with all aliases expanded; the longest profile has a thousand."""

TEMPLATE = "__use_yte__"
"""Key that makes Snakemake treat a file as a template and run the Python in it."""

# PyYAML does not wrap the errors of malformed values, such as 2020-99-01 or !!int of an empty text.
_MALFORMED = (yaml.YAMLError, ValueError, LookupError, AttributeError, ArithmeticError)


def read(file: Path | str) -> Any:
    """Return the content of a YAML file.

    Raises:
        ConfigError: the file cannot be read or would run code; a key is written twice; a value is malformed, contains
            itself, or is too large with its aliases expanded.
    """
    try:
        with open(file, "rb") as stream:
            data = stream.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise ValueError(f"larger than {LARGEST // 1024} KiB")
        loader = yaml.SafeLoader(data.decode("utf-8"))
        node = loader.get_single_node()
        lines = _Inspection(loader).mistakes(node) if node else []
        raw = loader.construct_document(node) if node and not lines else None
    except (OSError, RecursionError, *_MALFORMED) as error:
        raise ConfigError(f"ConfigError: {file} cannot be read: {_reason(error)}") from None
    if isinstance(raw, Mapping) and TEMPLATE in raw:
        lines = [f"{TEMPLATE}: makes Snakemake run the Python that is in the file; leave it out"]
    if lines:
        raise report(str(file), lines)
    return raw


class _Inspection:
    """An inspection of all nodes of a file, which visits each node once, however many aliases it has."""

    def __init__(self, loader: yaml.SafeLoader):
        self._loader = loader
        self._lines: list[str] = []
        self._sizes: dict[yaml.Node, int | None] = {}

    def mistakes(self, root: yaml.Node) -> list[str]:
        """Return the mistakes, one line each."""
        self._size(root, ())
        return self._lines

    def _size(self, node: yaml.Node, path: tuple[str, ...]) -> int:
        """Return the number of values in a node with all aliases expanded; 1 for a mistake, to report it once."""
        if node not in self._sizes:
            self._sizes[node] = None  # while its children are visited
            size = 1 + sum(self._size(child, (*path, key)) for key, child in self._children(node, path))
            if size > MOST:
                self._say(path, f"is {size:,} values with its aliases written out; there can be {MOST:,}")
                size = 1
            self._sizes[node] = size
        elif self._sizes[node] is None:
            self._say(path, "contains itself")
        return self._sizes[node] or 1

    def _children(self, node: yaml.Node, path: tuple[str, ...]) -> Iterator[tuple[str, yaml.Node]]:
        if isinstance(node, yaml.ScalarNode):
            try:
                self._loader.construct_object(node)
            except _MALFORMED as error:
                self._say(path, f"cannot be read: {_reason(error)}")
        elif node.tag not in (yaml.resolver.Resolver.DEFAULT_MAPPING_TAG, yaml.resolver.Resolver.DEFAULT_SEQUENCE_TAG):
            self._say(path, f"must be a plain mapping or list (got the tag {shown(node.tag)})")
        elif isinstance(node, yaml.SequenceNode):
            yield from ((str(place), child) for place, child in enumerate(node.value))
        else:
            yield from self._entries(node, path)

    def _entries(self, node: yaml.MappingNode, path: tuple[str, ...]) -> Iterator[tuple[str, yaml.Node]]:
        lines: dict[str, int] = {}
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._say(path, f"a key must be text (line {key.start_mark.line + 1})")
                continue
            line = key.start_mark.line + 1
            if key.value in lines:
                self._say((*path, key.value), f"is written twice, in lines {lines[key.value]} and {line}")
            lines[key.value] = line
            yield key.value, child

    def _say(self, path: tuple[str, ...], message: str) -> None:
        self._lines.append(f"{dotted(path) or 'the file'}: {message}")


def _reason(error: BaseException) -> str:
    """Return the reason of an error in one line, for a value without its position in the file: its key is reported."""
    known = getattr(error, "strerror", None) or (isinstance(error, yaml.constructor.ConstructorError) and error.problem)
    return " ".join(str(known or error).split())
