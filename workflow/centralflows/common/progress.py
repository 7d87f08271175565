"""Display of progress: a bar on a terminal or in a notebook, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")

INTERVAL = 5.0  # seconds between two lines


def progress(items: Iterable[T], *, total: int, name: str, done: int = 0, log: TextIO | None = None) -> Iterator[T]:
    """Yield the items and show steps, rate and remaining time: a bar if somebody watches, and lines in `log`.

    Args:
        total: number of all steps, including the `done` ones that are not among the items.
    """
    started = last = time.monotonic()
    kind = _bar()
    shown = kind is not None
    bar = (kind or tqdm)(
        total=total, initial=done, desc=name, unit="step", leave=False, dynamic_ncols=True, disable=not shown
    )
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


def _bar() -> type[tqdm] | None:
    """Return the kind of bar that is watched: a notebook's or a terminal's; None if nobody watches."""
    ipython = sys.modules.get("IPython")  # a notebook has imported it
    shell = ipython.get_ipython() if ipython else None
    if shell is not None and "IPKernelApp" in shell.config:
        from tqdm.auto import tqdm as notebook_bar  # a widget, or text without ipywidgets

        return notebook_bar
    return tqdm if sys.stderr.isatty() else None
