"""Show what differs between two outputs or two profiles: configuration, code, software, machine, and numbers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..changes import between
from ..difference import Gap, gaps
from ..lineage import NoLineage, seal_of
from ..provenance import Seal, read_seal


def arguments(parser: argparse.ArgumentParser) -> None:
    for name in ("one", "other"):
        parser.add_argument(name, type=Path, help="an output, or a profile: its name, or its folder in `results`")


def main(options: argparse.Namespace) -> int:
    one, other = (_found(path) for path in (options.one, options.other))
    lines, same = (_profiles if one.is_dir() and one.suffix != ".zarr" else _outputs)(one, other)
    print("\n".join(lines))
    return 0 if same else 1


def _found(path: Path) -> Path:
    if path.exists():
        return path
    if (Path("results") / path).is_dir():
        return Path("results") / path
    raise NoLineage(f"there is no {path}, and no profile of this name in results")


def _outputs(one: Path, other: Path) -> tuple[list[str], bool]:
    """All differences of two outputs, and whether their contents are the same."""
    records = [read_seal(seal_of(path, Path("results"))).made for path in (one, other)]
    found = gaps(one, other)
    lines = [f"{one} | {other}", *differing(*records)]
    lines += [f"  numbers: {_line(gap)}" for gap in found] or ["  numbers: the same"]
    return lines, not found


def _profiles(one: Path, other: Path) -> tuple[list[str], bool]:
    """The outputs that differ between two profiles' folders, each with the worst of its numbers."""
    seals = [
        {str(seal.relative_to(folder)): read_seal(seal) for seal in folder.rglob("*.seal.json")}
        for folder in (one, other)
    ]
    shared = sorted(seals[0].keys() & seals[1].keys())
    lines = [f"{name.removesuffix('.seal.json')}: in {folder} alone" for folder, name in _alone(one, other, *seals)]
    differ = [name for name in shared if seals[0][name].digest != seals[1][name].digest]
    for name in shared:
        texts = [
            *differing(seals[0][name].made, seals[1][name].made),
            *(_worst(seals[0][name], seals[1][name]) if name in differ else []),
        ]
        if texts:
            lines += [name.removesuffix(".seal.json"), *texts]
    lines.append(f"{len(shared) - len(differ)} of {len(shared)} outputs that both have are the same")
    return lines, not differ and seals[0].keys() == seals[1].keys()


def _alone(one: Path, other: Path, ones: Mapping[str, Seal], others: Mapping[str, Seal]) -> Iterator[tuple[Path, str]]:
    yield from ((one, name) for name in sorted(ones.keys() - others.keys()))
    yield from ((other, name) for name in sorted(others.keys() - ones.keys()))


def _worst(one: Seal, other: Seal) -> Iterator[str]:
    for name in one.outputs:
        found = gaps(one.path.with_name(name), other.path.with_name(name))
        if found:
            yield f"  numbers: {len(found)} quantities differ, most of all {_line(found[0])}"
        else:
            yield f"  numbers: those of {name} are the same"


def _line(gap: Gap) -> str:
    amount = f"{gap.absolute:.2g} apart, {gap.relative:.2g} of the largest; " if gap.absolute < float("inf") else ""
    return f"{gap.name}: {amount}{gap.where}"


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    """What differs between two records, a line each."""
    for kind, found in between(one, other).items():
        for key, values in found.items():
            if key.startswith("modules."):
                yield f"  code: {key.removeprefix('modules.')} differs"
            else:
                yield f"  {kind}: {key.removeprefix(f'{kind}.')} {' | '.join(map(_short, values))}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
