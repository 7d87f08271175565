"""Measured tables in the manual: each is between two marks in a file, and is replaced as a whole."""

from __future__ import annotations

from pathlib import Path


def put(file: Path, name: str, text: str) -> None:
    """Replace the text between the marks of this name.

    Raises:
        ValueError: the file has no such marks.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = file.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{file} has no marks {begin} and {end}")
    file.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}", encoding="utf-8")
