"""Show the lineage of a figure, a store or the scorecard, and verify all its digests."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...provenance.lineage import Link, Tracer, trace, trace_all
from ...provenance.record_differences import since

WIDTH = 118


def arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "artifact", nargs="?", type=Path, help="a figure, a store or a scorecard; a copied figure will do"
    )
    what.add_argument(
        "--all", nargs="?", const="default", metavar="PROFILE", help="everything of a profile (default: default)"
    )
    parser.add_argument(
        "--results", type=Path, help="the folder `results`; found from the artifact where it lies there"
    )
    parser.add_argument("--json", action="store_true", help="print all records as JSON")


def main(options: argparse.Namespace) -> int:
    results = (options.results or results_of(options.artifact)).resolve()
    roots = [trace(options.artifact.resolve(), results)] if options.artifact else trace_all(results, options.all)
    links = list({id(link): link for root in roots for link in root.walk()}.values())
    locate = Tracer(results).locate
    notes = Counter(note for link in links if link.manifest for note in since(link.made, locate))
    if options.json:
        print(json.dumps(as_json(links, notes), indent=1))
    else:
        lines = tree(roots[0]) if options.artifact else []
        print("\n".join([*lines, *summary(links, notes)]))
    return 1 if any(link.breaks for link in links) else 0


def results_of(artifact: Path | None) -> Path:
    """Return the folder `results` that an output belongs to by its path, else the one in the current directory."""
    for parent in artifact.resolve().parents if artifact else ():
        if parent.name in ("results", "figures"):
            return parent.with_name("results")
    return Path("results")


def as_json(links: Sequence[Link], notes: Mapping[str, int]) -> dict[str, Any]:
    """Return all links and notes, for JSON; the first link is that of the requested output."""
    return {
        "intact": not any(link.breaks for link in links),
        "notes": sorted(notes),
        "links": [
            {
                "name": link.name,
                "breaks": link.breaks,
                "inputs": {name: made_from.name for name, made_from in link.inputs.items()},
                "manifest": link.manifest and link.manifest._replace(path=str(link.manifest.path))._asdict(),
            }
            for link in links
        ],
    }


def summary(links: Sequence[Link], notes: Mapping[str, int]) -> Iterator[str]:
    """Yield lines on the changes since, and on whether all outputs are intact."""
    if notes:
        yield "Changed since (the outputs are not affected):"
        yield from (f"  {note}  [{count} of {len(links)}]" for note, count in sorted(notes.items()))
    broken = [(link, finding) for link in links for finding in link.breaks]
    if not broken:
        files = sum(len(link.manifest.files) for link in links)
        yield f"Intact: {files} files of {len(links)} recorded outputs are as they were made."
        return
    (link, finding), *others = broken
    yield f"BROKEN at {link.name}: {finding}"
    yield from (f"  also {link.name}: {finding}" for link, finding in others)


def tree(root: Link) -> Iterator[str]:
    """Yield the lines of a lineage, with the inputs of each output below it."""
    seen: set[int] = set()

    def shown(link: Link, role: str, head: str, indent: str) -> Iterator[str]:
        mark = "BROKEN  " if link.breaks else ""
        yield f"{head}{mark}{link.name}{role}"
        if id(link) in seen:
            yield f"{indent}    as above"
            return
        seen.add(id(link))
        files = link.made.get("files", {}).values()
        bar = "│   " if link.inputs or files else "    "
        for line in [*(f"BROKEN: {finding}" for finding in link.breaks), *described(link.made)]:
            yield from textwrap.wrap(
                line,
                WIDTH,
                initial_indent=f"{indent}{bar}",
                subsequent_indent=f"{indent}{bar}  ",
                break_on_hyphens=False,
            )
        below = [*link.inputs.items(), *((None, pin) for pin in files)]
        for position, (name, child) in enumerate(below, start=1):
            corner, deeper = ("└── ", "    ") if position == len(below) else ("├── ", "│   ")
            if name is None:
                yield f"{indent}{corner}{child['path']}  (sha256 {child['sha256'][:16]})"
            else:
                yield from shown(child, f"  as {name}", f"{indent}{corner}", f"{indent}{deeper}")

    yield from shown(root, "", "", "")


def described(made: Mapping[str, Any]) -> Iterator[str]:
    """Yield a record in a few lines."""
    if not made:
        return
    machine, software = made["machine"], made["software"]
    state = "with uncommitted changes" if made["dirty"] else "clean"
    gpu = made["gpu"] and f"{made['gpu']['name']}, driver {made['gpu']['driver']}, CUDA {made['gpu']['cuda']}"
    where = [machine["host"], machine["processor"], made.get("device"), gpu]
    threads = [f"{made['threads']} thread(s)"] if "threads" in made else []
    blas = {
        f"{lib['internal_api']} {lib['version']} ({lib['architecture']})"
        for lib in made["libraries"]["loaded"]
        if "architecture" in lib
    }
    versions = [
        f"{name} {software[name]}" for name in ("python", "torch", "numpy", "xarray", "zarr") if name in software
    ]
    resumed = f", resumed at step {made['resumed']}" if made.get("resumed") else ""
    yield f"made: rule {made['rule']}, {made['started']}, {made['seconds']} s{resumed}"
    if "command" in made:
        yield f"command: {made['command']}"
    yield f"code: commit {(made['commit'] or 'unknown')[:12]}, {state}; source {made['source_digest'][:16]}"
    yield f"machine: {', '.join([*filter(None, where), *threads])}"
    yield f"software: {', '.join([*versions, *sorted(blas)])}; lock {made['lock'][:16]}"
    if "dataset" in made:
        yield f"data: {'; '.join(f'{key}: {value}' for key, value in made['dataset'].items())}"
    yield f"config: {', '.join(settings(made['config']))}"


def settings(config: Any, path: str = "") -> Iterator[str]:
    """Yield a configuration as `key value`, with dotted keys."""
    if not isinstance(config, Mapping):
        yield f"{path} {json.dumps(config)}"
        return
    for key, value in config.items():
        yield from settings(value, f"{path}.{key}" if path else key)
