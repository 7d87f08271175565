"""Display of progress: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")

INTERVAL = 5.0  # seconds between two lines


def progress(items: Iterable[T], *, total: int, name: str, done: int = 0, log: TextIO | None = None) -> Iterator[T]:
    """Yield the items and show steps, rate and remaining time: a bar if stderr is a terminal, and lines in `log`.

    Args:
        total: number of all steps, including the `done` ones that are not among the items.
    """
    started = last = time.monotonic()
    shown = sys.stderr.isatty()
    bar = tqdm(total=total, initial=done, desc=name, unit="step", leave=False, dynamic_ncols=True, disable=not shown)
    lines = log if log is not None else (None if shown else sys.stderr)
    before = done
    with bar:
        for item in items:
            yield item
            done += 1
            bar.update()
            now = time.monotonic()
            if lines is not None and (now - last >= INTERVAL or done == total):
                last = now
                rate = (done - before) / max(now - started, 1e-9)
                remaining = (total - done) / rate
                print(
                    f"{name}: step {done}/{total}, {rate:.3g} steps/s, {remaining:.0f} s left", file=lines, flush=True
                )
