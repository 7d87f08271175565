"""Parts of an experiment that a user brings: "package.module:Name" instead of a name of this package.

The module is imported from the directory in which the program runs, or from wherever else Python finds it. It is code, and
it is run: this is the one place where a configuration can make that happen.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from .errors import UserError


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
        given = ", ".join(options) or "none"
        raise PluginError(f"{path}: {type(error).__name__}: {error} (options given: {given})") from error


def check_optimizer(settings: Any) -> None:
    """Build the optimizer that a configuration describes, and hold it against the contract of optimizers.

    Raises:
        PluginError: it cannot be built.
        BrokenContract: the flows could not use it.
    """
    from . import optimizers
    from .optimizers import contract

    contract.check(optimizers.build(settings))


def sources(path: str) -> dict[str, str]:
    """The plugin's own code by file name: all of the package (or the one module) that it comes from, as syntax.

    A change of it must make again what depends on it; a change of its comments or layout must not.
    """
    top = path.partition(":")[0].partition(".")[0]
    _look_here()
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None or (spec.origin is None and not spec.submodule_search_locations):
        raise PluginError(f"{path}: there is no module {top!r}")
    if not spec.submodule_search_locations:
        return {Path(spec.origin).name: _syntax(Path(spec.origin))}
    folders = [Path(folder) for folder in spec.submodule_search_locations]
    return {
        file.relative_to(folder).as_posix(): _syntax(file)
        for folder in folders
        for file in sorted(folder.rglob("*.py"))
    }


def _syntax(file: Path) -> str:
    try:
        return ast.unparse(ast.parse(file.read_text(encoding="utf-8")))
    except (SyntaxError, ValueError) as error:
        raise PluginError(f"{file}: {error}") from None


def _look_here() -> None:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
