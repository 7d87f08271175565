"""Tables and figure of the benchmark.

`python -m centralflows.jobs.benchmarks.cost_tables` writes the tables of all measurements in `docs/benchmarks/` to
`docs/performance.md`, and the cost of a step of the central flow to README.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from ...common.paths import REPOSITORY
from ...figures.style import styled
from . import manual_tables

KEPT, MANUAL, README = (
    REPOSITORY / "docs" / "benchmarks",
    REPOSITORY / "docs" / "performance.md",
    REPOSITORY / "README.md",
)
COUNTS = ("gradients", "graphs", "products", "product_graphs", "third")


def rows(measured: Mapping[str, Any]) -> list[tuple[str, str, str, Mapping[str, int | float]]]:
    """Return (run, process, critical modes, costs) of everything that was timed."""
    return [
        (run, process, k, costs)
        for run, processes in measured["processes"].items()
        for process, by_modes in processes.items()
        if isinstance(by_modes, Mapping)
        for k, costs in by_modes.items()
        if isinstance(costs, Mapping)
    ]


def table(measured: Mapping[str, Any]) -> str:
    """Return all measurements as Markdown."""
    machine = measured["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    lines = [
        f"{machine['processor']}, {machine['device']}, {machine['threads']} thread; {versions}.",
        "",
        "| network | p | n | gradient [ms] | process | critical | steps | gradient equivalents | tracked | "
        + " | ".join(name.replace("_", " ") for name in COUNTS)
        + " |",
        "| --- " * (9 + len(COUNTS)) + "|",
    ]
    for run, process, k, costs in rows(measured):
        sizes = measured["processes"][run]
        counts = " | ".join(f"{costs.get(name, 0):g}" for name in COUNTS)
        shown = k if process == "central" else ""
        lines.append(
            f"| {run} | {sizes['p']:,} | {sizes['n']:,} | {sizes[process]['gradient_ms']:.2f} | {process} | {shown} | "
            f"{costs['steps']} | {costs['gradient_equivalents']:g} | "
            f"{costs['tracked_modes']:g} | {counts} |"
        )
    lines += ["", "| network | modes | textbook step, gradient equivalents |", "| --- | --- | --- |"]
    lines += [f"| {run} | {t['modes']} | {t['gradient_equivalents']:g} |" for run, t in measured["textbook"].items()]
    lines += ["", "| p | n | k | gradient [ms] | k products [ms] | third derivatives [ms] |", "| --- " * 6 + "|"]
    lines += [
        f"| {g['p']:,} | {g['n']} | {g['k']} | {g['gradient_ms']:.2f} | {g['products_ms']:.1f} | {g['third_ms']:.1f} |"
        for part in measured["growth"].values()
        for g in part
    ]
    lines += ["", "| p | microbatch size | memory of third derivatives [MiB] |", "| --- | --- | --- |"]
    lines += [f"| {m['p']:,} | {m['microbatch_size']} | {m['mib']:g} |" for m in measured["memory"]]
    stages = measured["stages"]
    after = (
        f"Writing the store takes {measured['store_share']:.1%} of a central flow's time (mlp 32, gd, small lr). The analysis "
        f"of a run of {stages['steps']} steps takes {stages['analysis']:.2f} s, one of its figures {stages['figure']:.2f} s."
    )
    return "\n".join([*lines, "", after])


@styled()
def draw(measured: Mapping[str, Any]) -> Figure:
    """Return a figure of the gradient equivalents per process and network."""
    found = rows(measured)
    figure = Figure(figsize=(8, 0.22 * len(found) + 1), layout="constrained")
    axes = figure.subplots()
    labels = [f"{run}: {process}{f', k = {k}' if process == 'central' else ''}" for run, process, k, _ in found]
    axes.barh(labels, [costs["gradient_equivalents"] for *_, costs in found])
    axes.set(xscale="log", xlabel="time per step [full-batch gradients]")
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    return figure


def kept() -> str:
    """Return the tables of all measurements in `docs/benchmarks/`."""
    measured = {
        file.stem.replace("-", " "): json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(KEPT.glob("*.json"))
    }
    return "\n\n".join(f"## {name}\n\n{table(each)}" for name, each in measured.items())


def sentence(measured: Mapping[str, Any], run: str = "mlp 32, gd", modes: int = 3) -> str:
    """Return a text on the cost of a step of the central flow of a run, and of its textbook implementation."""
    costs = measured["processes"][run]["central"][str(modes)]["gradient_equivalents"]
    return (
        "The unit is one full-batch gradient of the same network. A step of the central flow of a 100,000-weight MLP with\n"
        f"three modes at the edge costs {costs:.0f} gradients on one CPU core; a straightforward implementation costs "
        f"{measured['textbook'][run]['gradient_equivalents']:.0f}."
    )


if __name__ == "__main__":
    manual_tables.put(MANUAL, "benchmark", kept())
    manual_tables.put(README, "speed", sentence(json.loads((KEPT / "cpu.json").read_text(encoding="utf-8"))))
