"""Writes the tables of docs/networks.md from the cases: `python tests/gauntlet/networks_page.py` (some minutes)."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import torch

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"
BEGIN, END = "<!-- cases: begin -->", "<!-- cases: end -->"
OUTCOMES = {"runs": "runs", "warns": "runs, with a warning that it is not smooth", "refused": "refused"}


def rows(text: str) -> dict[str, tuple[str, str]]:
    """Return outcome and remark of each case on the page, by its name."""
    table = text.split(BEGIN)[1].split(END)[0]
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines() if line[:1] == "|"]
    found = {}
    for cell in cells:
        if len(cell) > 1 and cell[1] in OUTCOMES.values():
            found[cell[0]] = (cell[1], cell[2] if len(cell) > 2 else "")
    return found


def remark(objective: Any) -> str:
    """Return what the page says of a case that runs."""
    return f"replaced: {', '.join(objective.replaced)}" if objective.replaced else ""


def measured() -> str:
    """Return the tables, after trying every case."""
    import gauntlet_libraries  # noqa: F401  (adds its cases)
    from gauntlet_cases import CASES

    from centralflows import Experiment, GradientDescent, Objective

    lines, kind = [], None
    for case in CASES:
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            problem = case.make()
            try:
                arguments = problem.network, problem.inputs, problem.targets, problem.criterion
                objective = problem.make() if problem.make else Objective(*arguments, **problem.options)
                Experiment(objective, GradientDescent(0.01), 1).check()
                said = remark(objective)
            except Exception as error:
                said = str(error).partition(";")[0].replace("|", "/")
        if case.kind != kind:
            kind = case.kind
            lines += ["", f"### {kind[:1].upper()}{kind[1:]}", "", "| case | outcome | remark |", "| --- | --- | --- |"]
        lines.append(f"| {case.name} | {OUTCOMES[case.outcome]} | {said} |".replace("  ", " "))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1]))  # for what tests share
    torch.set_num_threads(1)
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{measured()}\n\n{END}{rest.partition(END)[2]}")
