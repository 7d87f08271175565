"""Imports go one way, and what only reads stores needs no torch; imports inside functions count."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import centralflows

PACKAGE = Path(centralflows.__file__).parent
CHAIN = ("objective", "derivatives", "optimizers", "spectrum", "complementarity", "edge", "flows", "integrate")
LIGHT = (
    "trajectory",
    "metrics",
    "provenance",
    "environment",
    "lineage",
    "changes",
    "difference",
    "__main__",
    "jobs",
    "config",
    "schema",
    "catalogue",
    "measures",
    "claims",
    "scorecard",
    "gallery",
    "windows",
    "config_messages",
    "config_docs",
    "progress",
    "symmetric",
    "sizes",
    "demands",
    "settings",
    "captions",
    "status",
    "commit",
    "lock",
)
LIGHT_PACKAGES = ("figures", "data", "commands")
HEAVY = {"torch", "torchdiffeq"}


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(file): file for file in PACKAGE.rglob("*.py")}


def imports(module: str) -> set[str]:
    """Modules that a module imports by itself, with the packages that hold them."""
    file = FILES[module]
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
            base = (
                [*package[: len(package) + 1 - node.level], *filter(None, [node.module])]
                if node.level
                else [node.module]
            )
            base = ".".join(base)
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names if f"{base}.{alias.name}" in FILES)}
    return found | {name.rsplit(".", 1)[0] for name in found if name in FILES and "." in name}


def reached(module: str) -> dict[str, str]:
    """All that importing a module imports, with the module of this package that does it."""
    pending, found = [module], {}
    while pending:
        current = pending.pop()
        for name in imports(current) - found.keys():
            found[name] = current
            if name in FILES:
                pending.append(name)
    return found


def below(package: str) -> list[str]:
    return sorted(
        name for name in FILES if name == f"centralflows.{package}" or name.startswith(f"centralflows.{package}.")
    )


def test_the_finder_sees_imports_of_every_kind():
    assert {"centralflows.schema", "centralflows.data.sorting", "centralflows.data.examples"} <= imports(
        "centralflows.data"
    )
    assert {"torch", "torchdiffeq", "centralflows.optimizers.base"} <= imports("centralflows.integrate")
    assert "torch" in reached("centralflows.experiment")
    assert "centralflows.derivatives" in reached("centralflows.integrate")  # by way of flows
    assert "centralflows.derivatives" not in imports("centralflows.integrate")


@pytest.mark.parametrize("name", CHAIN)
def test_the_mathematics_imports_only_what_comes_before_it(name):
    later = {module for other in CHAIN[CHAIN.index(name) + 1 :] for module in below(other)}
    for module in below(name):
        assert not imports(module) & later, module


LIGHT_MODULES = [f"centralflows.{name}" for name in LIGHT] + [name for p in LIGHT_PACKAGES for name in below(p)]


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_reading_stores_needs_no_torch(module):
    found = reached(module)
    heavy = {name: by for name, by in found.items() if name.split(".")[0] in HEAVY}
    assert not heavy, f"{module} imports {heavy}"


def test_one_file_alone_knows_the_integrator_library():
    assert [name for name in FILES if any(i.split(".")[0] == "torchdiffeq" for i in imports(name))] == [
        "centralflows.integrate"
    ]
