"""Show the differences between two outputs or two profiles: configuration, code, software, machine, and numbers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...provenance.lineage import NoLineage, manifest_of
from ...provenance.manifest import Manifest, read_manifest
from ...provenance.number_differences import Gap, gaps
from ...provenance.record_differences import ABSENT, between


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
    """Return lines on the differences of two outputs, and whether their contents are the same."""
    records = [read_manifest(manifest_of(path, Path("results"))).made for path in (one, other)]
    found = gaps(one, other)
    lines = [f"{one} | {other}", *differing(*records)]
    lines += [f"  numbers: {_line(gap)}" for gap in found] or ["  numbers: the same"]
    return lines, not found


def _profiles(one: Path, other: Path) -> tuple[list[str], bool]:
    """Return lines on the differences of two profiles' folders, and whether their contents are the same.

    They list each difference of the records once, and the differences of numbers by output.
    """
    manifests = [
        {_name(path, folder): read_manifest(path) for path in folder.rglob("*.manifest.json")}
        for folder in (one, other)
    ]
    shared = sorted(manifests[0].keys() & manifests[1].keys())
    records: dict[str, list[str]] = {}
    numbers: list[str] = []
    for name in shared:
        pair = [known[name] for known in manifests]
        for line in differing(*(manifest.made for manifest in pair)):
            records.setdefault(line, []).append(name)
        numbers += _worst(name, *pair)
    lines = [f"{one} | {other}", *(f"{line}  [{_some(names)}]" for line, names in records.items()), *numbers]
    for folder, known in zip((one, other), manifests, strict=True):
        lines += [f"  {name}: in {folder} alone" for name in sorted(known.keys() - set(shared))]
    lines.append(
        f"  numbers: those of {len(shared) - len(numbers)} of {len(shared)} outputs that both have are the same"
    )
    return lines, not numbers and manifests[0].keys() == manifests[1].keys()


def _name(manifest: Path, folder: Path) -> str:
    return manifest.relative_to(folder).as_posix().removesuffix(".manifest.json")


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _worst(name: str, one: Manifest, other: Manifest) -> list[str]:
    """Return a line on the largest gap between two outputs, if there is one."""
    if one.digest == other.digest:
        return []
    found = [gap for each in one.outputs for gap in gaps(one.path.with_name(each), other.path.with_name(each))]
    return [f"  {name}: {len(found)} quantities differ, most of all {_line(found[0])}"] if found else []


def _line(gap: Gap) -> str:
    amount = f"{gap.absolute:.2g} apart, {gap.relative:.2g} of the largest; " if gap.absolute < float("inf") else ""
    return f"{gap.name}: {amount}{gap.where}"


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    """Yield the differences between two records, one line each."""
    for kind, found in between(one, other).items():
        for key, values in found.items():
            if key.startswith("modules."):
                yield f"  code: {key.removeprefix('modules.')} {_which(*values)}"
            else:
                yield f"  {kind}: {key.removeprefix(f'{kind}.')} {' | '.join(map(_short, values))}"


def _which(one: str, other: str) -> str:
    return "in the second alone" if one == ABSENT else "in the first alone" if other == ABSENT else "differs"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
