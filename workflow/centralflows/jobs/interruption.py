"""Handling of the signals that stop a process: SIGTERM from a scheduler, SIGINT from a user."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(BaseException):
    """A signal to stop. It is not an `Exception`, so that no handler takes it for an error."""

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class Interruption:
    """A context in which SIGTERM and SIGINT raise `Interrupted`: at once, or at the end of a `whole` block."""

    def __init__(self):
        self._whole, self._number = False, None

    def __enter__(self) -> Interruption:
        main = threading.current_thread() is threading.main_thread()  # other threads receive no signals
        numbers = (signal.SIGTERM, signal.SIGINT) if main else ()
        self._before = {number: signal.signal(number, self._asked) for number in numbers}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Hold a context that a signal interrupts only at its end."""
        self._whole = True
        try:
            yield
        finally:
            self._whole = False
        if self._number is not None:
            raise Interrupted(self._number)

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self._whole:
            self._number = number
            return
        self._whole = True  # a second signal must not interrupt the cleanup that follows
        raise Interrupted(number)
