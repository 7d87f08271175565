"""Parts of an experiment that a user brings: "package.module:Name" instead of a name of this package.

The module is imported from the directory in which the program runs, or from wherever else Python finds it. It is code, and
it is run: this is the one place where a configuration can make that happen.
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
    """A plugin cannot be found, or is not what it should be."""


def resolve(path: str) -> Any:
    """What stands at "package.module:Name".

    Raises:
        PluginError: no such module, or nothing of that name in it.
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
    """The plugin called with arguments.

    Raises:
        PluginError: it does not take them.
    """
    made = resolve(path)
    try:
        return made(*args, **options)
    except Exception as error:
        given = ", ".join(options) or "no options"
        raise PluginError(f"{path}: {type(error).__name__}: {error} (called with {given})") from error


def accepted(path: str, offered: Mapping[str, Any]) -> dict[str, Any]:
    """What the plugin takes of the arguments that it is offered: those that it names, or all where it has `**kwargs`."""
    try:
        parameters = inspect.signature(resolve(path)).parameters
    except (TypeError, ValueError):  # not callable, which calling it says better; or one that hides what it takes
        return dict(offered)
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return dict(offered)
    return {name: value for name, value in offered.items() if name in parameters}


def sources(path: str) -> dict[str, str]:
    """The plugin's own code by file name: all of the package (or the one module) that it comes from, as syntax.

    A change of it must make again what depends on it; a change of its comments or layout must not. An installed package
    counts by its version.

    Raises:
        PluginError: there is no such code, or it is none that Python can read.
    """
    top = path.partition(":")[0].partition(".")[0]
    _look_here()
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not (spec.has_location or spec.submodule_search_locations):  # none, or built into Python
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
    """Versions of the installed packages that a top-level module comes from."""
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
