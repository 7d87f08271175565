"""The table in README.md of what the workflow survives: counted by the tests, in a session with `--survival-table`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- survived: begin -->\n", "<!-- survived: end -->\n"

KINDS = {
    "kill": (
        "a trajectory job killed (SIGKILL) at a random access to the file system",
        "the bytes of an uninterrupted run; at most the steps since the last checkpoint are repeated",
    ),
    "resume": ("a bit flipped in the checkpoint of a killed job", "found when the job resumes; the run begins again"),
    "damage": (
        "a file of an output or a checkpoint with a bit flipped, cut short, or removed",
        "found by `verify`; in outputs by `audit` too",
    ),
    "config": (
        "a configuration with mistakes drawn at random",
        "accepted, or refused with an error that names the key",
    ),
    "data": (
        "a dataset file or archive with bytes changed, removed or added",
        "refused with one error, or read without harm",
    ),
}
"""What is done, and what comes of it."""


def table(counts: Mapping[str, int]) -> str:
    """Markdown, a row for each kind that was counted."""
    rows = [f"| {done} | {counts[kind]:,} | {outcome} |" for kind, (done, outcome) in KINDS.items() if counts.get(kind)]
    return "\n".join(["| done | times | outcome, each time |", "| --- | --- | --- |", *rows, ""])


def write(counts: Mapping[str, int], page: Path = README) -> None:
    """Put the table in its place on a page."""
    head, begin, rest = page.read_text().partition(BEGIN)
    _, end, tail = rest.partition(END)
    assert begin and end, f"{page} has no place for the table"
    page.write_text(f"{head}{begin}\n{table(counts)}\n{end}{tail}")
