"""User-defined parts of an experiment: "package.module:Name" instead of a built-in name.

The module is imported from the current directory, or from elsewhere on Python's path. The import runs its code; nothing
else in a configuration can run code.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
import sysconfig
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from ..common.errors import UserError
from ..common.hashing import code


class PluginError(UserError):
    """A plugin that cannot be found or used."""


def resolve(path: str) -> Any:
    """Return the object at "package.module:Name".

    Raises:
        PluginError: the module cannot be imported, or has no such name.
    """
    module, _, name = path.partition(":")
    _look_here()
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError:
        raise PluginError(f"{path}: module {module!r} has no {name!r}") from None
    except Exception as error:
        raise PluginError(f"{path}: cannot import {module!r}: {type(error).__name__}: {error}") from error


def make(path: str, *args: Any, **options: Any) -> Any:
    """Return the result of a call of the plugin.

    Raises:
        PluginError: the call fails.
    """
    made = resolve(path)
    try:
        return made(*args, **options)
    except Exception as error:
        given = ", ".join(options) or "no options"
        raise PluginError(f"{path}: {type(error).__name__}: {error} (called with {given})") from error


def accepted(path: str, offered: Mapping[str, Any]) -> dict[str, Any]:
    """Return the offered arguments that the plugin takes: those that it names, or all if it has `**kwargs`."""
    try:
        parameters = inspect.signature(resolve(path)).parameters
    except (TypeError, ValueError):  # not callable, which the call itself reports better; or without a signature
        return dict(offered)
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return dict(offered)
    return {name: value for name, value in offered.items() if name in parameters}


def sources(path: str) -> dict[str, str]:
    """Return the plugin's code by file name, as syntax: the whole package, or the one module, that it comes from.

    Outputs must be made again after a change of the code, but not after a change of comments or layout. An installed
    package is represented by its version.

    Raises:
        PluginError: the module has no file, or Python cannot parse it.
    """
    top = path.partition(":")[0].partition(".")[0]
    _look_here()
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not (spec.has_location or spec.submodule_search_locations):  # not found, or built into Python
        raise PluginError(f"{path}: there is no file of a module {top!r}")
    if Path(spec.origin or "").is_relative_to(sysconfig.get_path("purelib")) and (installed := _versions(top)):
        return installed
    if not spec.submodule_search_locations:
        return {Path(spec.origin).name: _syntax(Path(spec.origin))}
    folders = [Path(folder) for folder in spec.submodule_search_locations]
    return {
        file.relative_to(folder).as_posix(): _syntax(file)
        for folder in folders
        for file in sorted(folder.rglob("*.py"))
    }


def _versions(top: str) -> dict[str, str]:
    """Return the versions of the installed packages that provide a top-level module."""
    return {name: metadata.version(name) for name in metadata.packages_distributions().get(top, ())}


def _syntax(file: Path) -> str:
    try:
        return code(ast.parse(file.read_text(encoding="utf-8")))
    except (OSError, SyntaxError, ValueError) as error:
        raise PluginError(f"{file}: {error}") from None


def _look_here() -> None:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
