"""Digests of files, values and source code.

The digest of a job's code covers all code that can affect a number or a picture: its script, every module outside of
`PLUMBING` that the script imports, the modules that its configuration refers to, and constants of the configuration. It
ignores comments, docstrings, layout, and the texts of errors, warnings and prints, except those of `STORED`.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from .paths import PACKAGE, REPOSITORY

PLUMBING = ("common", "config", "jobs", "provenance")
"""Folders of modules that compute no number, but run, record and resume jobs. The digest ignores these modules, but not
those of folders within them (benchmarks, the crate). A job's configuration is in its settings; of the modules of
`config`, only the constants that others import count."""

STORED = ("Diverged", "Stopped")
"""Errors whose text is stored with a trajectory."""


def canonical(value: Any) -> str:
    """Return the sorted JSON of a value, without spaces, as used for digests and for a store's attributes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def digest(value: Any) -> str:
    """Return the sha256 of the sorted JSON of a value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def sha256(file: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def source_digest(*roots: str) -> str:
    """Return one digest of a job's code (see `module_digests`)."""
    return digest(module_digests(*roots))


def module_digests(*roots: str) -> dict[str, str]:
    """Return the digest of every module that a job's numbers depend on, by path relative to the repository.

    Imports are followed through all wings, as written in the source, including those inside functions. A name that a
    package loads lazily is not followed, so scripts must import from modules.

    Args:
        roots: scripts, as paths relative to the repository, and references `package.module:name`.
    """
    pending, seen = [file_of(root) for root in roots], set()
    digests: dict[str, str] = {}
    while pending:
        file = pending.pop()
        if file not in seen:
            seen.add(file)
            found = scanned(file)
            pending.extend(found.imports)
            digests |= found.digests
    return dict(sorted(digests.items()))


class Scan(NamedTuple):
    """The part of a job's code that one module adds.

    Attributes:
        imports: files of this package that the module imports.
        digests: digests of the module and of the constants that it imports from the configuration; none for plumbing.
    """

    imports: tuple[Path, ...]
    digests: dict[str, str]


@cache
def scanned(file: Path) -> Scan:
    """Return the part of a job's code that a module adds; each file is read once per process."""
    tree = _parsed(file)
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    counts = _folder(file) not in PLUMBING
    own = _constants(imports, file) | {_name(file): digest(code(tree))} if counts else {}
    return Scan(tuple(_imported(imports, file)), own)


def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def code(tree: ast.Module) -> str:
    """Return a module's source without docstrings, comments, layout and texts of errors; `tree` is modified."""
    return ast.unparse(_WithoutProse().visit(tree))


def file_of(root: str) -> Path:
    """Return the file of a script, a path relative to the repository, or of a reference `package.module:name`."""
    if ":" not in root:
        return REPOSITORY / root
    _, *parts = root.partition(":")[0].split(".")
    return PACKAGE.joinpath(*parts).with_suffix(".py")


def _name(file: Path) -> str:
    return file.relative_to(REPOSITORY).as_posix()


def _folder(file: Path) -> str:
    """Return the folder of a module, relative to the package; "" outside of the package."""
    return file.parent.relative_to(PACKAGE).as_posix() if file.is_relative_to(PACKAGE) else ""


class _WithoutProse(ast.NodeTransformer):
    """A transformer that drops docstrings, and empties the texts of errors, warnings and prints."""

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body = [statement for statement in node.body if not _is_docstring(statement)]
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and _called(node.exc) not in STORED:
            _blank(node.exc)
        if isinstance(node, ast.Call) and _called(node) in ("warn", "print"):
            _blank(node)
        return self.generic_visit(node)


def _is_docstring(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _called(call: ast.Call) -> str:
    """Return the last part of the name of the called object."""
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def _blank(call: ast.Call) -> None:
    """Empty the texts among the arguments of a call."""
    call.args = [ast.Constant("") if _is_text(argument) else argument for argument in call.args]


def _is_text(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp):  # concatenated texts
        return _is_text(node.left) or _is_text(node.right)
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _imported(imports: list[ast.Import | ast.ImportFrom], file: Path) -> list[Path]:
    """Return the files of this package that the imports of a module name."""
    found: set[Path] = set()
    for node in imports:
        if isinstance(node, ast.ImportFrom) and (base := _base(node, file)):
            found.update(_module_files(base))
            for alias in node.names:
                found.update(_module_files(base / alias.name))
        if isinstance(node, ast.Import):
            for alias in node.names:
                top, *parts = alias.name.split(".")
                if top == PACKAGE.name:
                    found.update(_module_files(PACKAGE.joinpath(*parts)))
    return sorted(found)


def _base(node: ast.ImportFrom, file: Path) -> Path | None:
    """Return the module that names are imported from, as a path without suffix; None for another package."""
    parts = (node.module or "").split(".")
    if node.level:
        return file.parents[node.level - 1].joinpath(*parts)
    return PACKAGE.joinpath(*parts[1:]) if parts[0] == PACKAGE.name else None


def _module_files(base: Path) -> list[Path]:
    """Return the file of a module, and those of the packages around it, which are run first."""
    files = [base.with_suffix(".py"), base / "__init__.py"]
    if any(file.is_file() for file in files):
        files += [folder / "__init__.py" for folder in base.parents if folder.is_relative_to(PACKAGE)]
    return [file for file in files if file.is_file()]


def _constants(imports: list[ast.Import | ast.ImportFrom], file: Path) -> dict[str, str]:
    """Return digests of the constants that a module imports from the configuration, by `path:NAME`."""
    found: dict[str, str] = {}
    for node in imports:
        base = _base(node, file) if isinstance(node, ast.ImportFrom) else None
        source = base and base.with_suffix(".py")
        if source and source.is_file() and _folder(source) == "config":
            values = dict(_assigned(_parsed(source)))
            names = [alias.name for alias in node.names if alias.name in values]
            found |= {f"{_name(source)}:{name}": digest(values[name]) for name in names}
    return found


def _assigned(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the names in capitals that a module assigns, each with the source of its value."""
    for statement in tree.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name) and target.id.isupper() and getattr(statement, "value", None):
                yield target.id, ast.unparse(statement.value)
