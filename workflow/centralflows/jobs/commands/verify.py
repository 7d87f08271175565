"""Verify all outputs of a profile, and report all findings at once."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...provenance.lineage import Link, trace_all
from .. import checkpoint_contents
from ..lock import lock_state


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("profile", nargs="?", default="default", help="(default: default)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="the folder `results` (default: here)")


def main(options: argparse.Namespace) -> int:
    results = options.results.resolve()
    links = trace_all(results, options.profile)
    found = list(findings(links, results, options.profile))
    if not found:
        print(f"{options.profile}: {len(links)} recorded outputs are as they were made")
        return 0
    print("\n".join([f"{options.profile}: {len(found)} finding{'s' if len(found) > 1 else ''}", *found]))
    print("Remove each damaged output and its manifest, then run snakemake again.")
    return 1


def findings(links: Sequence[Link], results: Path, profile: str) -> Iterator[str]:
    """Yield everything that is not as it was made, one line each."""
    every = {id(link): link for root in links for link in root.walk()}
    for link in every.values():
        yield from (f"  {link.name}: {finding}" for finding in link.breaks)
    recorded = {link.manifest.path.parent / name for link in links if link.manifest for name in link.manifest.outputs}
    for folder in (results / profile, results.parent / "figures" / profile):
        for path in without_manifest(folder, recorded):
            yield f"  {path.relative_to(results.parent)}: has no manifest"
    for folder in resumable(results / profile):
        yield from (
            f"  {folder.relative_to(results.parent)}: {finding}" for finding in checkpoint_contents.findings(folder)
        )


def resumable(folder: Path) -> Iterator[Path]:
    """Yield the checkpoint folders of interrupted jobs of a profile, without those of running jobs."""
    for partial in sorted(folder.glob("*/.*.partial")):
        output = partial.with_name(partial.name.removeprefix(".").rpartition("-")[0])
        lock = lock_state(output)
        if lock is None or not lock.held:
            yield partial


def without_manifest(folder: Path, recorded: set[Path]) -> Iterator[Path]:
    """Yield the files below a folder that no manifest covers, a whole store as one.

    Hidden files are work in progress. The store that a diverged run leaves for inspection is not an output.
    """
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path in recorded or path.name.startswith(".") or path.name.endswith((".manifest.json", ".diverged.zarr")):
            continue
        if path.is_dir() and path.suffix != ".zarr":
            yield from without_manifest(path, recorded)
        else:
            yield path
