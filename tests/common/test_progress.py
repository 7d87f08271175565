"""Progress is shown, and what passes through it is untouched."""

from __future__ import annotations

import io
import re
import sys

import pytest
import tqdm.auto
import tqdm.std

from centralflows.common import progress as module
from centralflows.common.progress import progress

LINE = re.compile(r"^run: step (\d+)/(\d+), (\S+) steps/s, (\d+) s left$")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def log(tmp_path):
    with open(tmp_path / "log", "w+", buffering=1) as file:
        yield file


def written(log) -> str:
    log.seek(0)
    return log.read()


def steps(log: str) -> list[int]:
    return [int(LINE.match(line)[1]) for line in log.splitlines()]


def test_items_pass_unchanged_and_in_order(log):
    items = [object() for _ in range(5)]
    assert list(progress(iter(items), total=5, name="run", log=log)) == items
    assert list(progress([], total=0, name="run", log=log)) == []


def test_items_are_taken_one_by_one(log):
    taken = []
    shown = progress((taken.append(i) or i for i in range(3)), total=3, name="run", log=log)
    assert taken == []
    next(shown)
    assert taken == [0]


def test_lines_come_in_intervals_and_at_the_end(monkeypatch, log):
    now = iter([0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 13.0])  # the start, then after each of seven items
    monkeypatch.setattr(module.time, "monotonic", lambda: next(now))
    list(progress(range(7), total=7, name="run", log=log))
    # five seconds after the last line: at 6 s (step 3), at 12 s (step 6); and the last step whenever it comes
    assert written(log).splitlines() == [
        "run: step 3/7, 0.5 steps/s, 8 s left",
        "run: step 6/7, 0.5 steps/s, 2 s left",
        "run: step 7/7, 0.538 steps/s, 0 s left",
    ]


def test_a_fast_run_leaves_one_line(log):
    list(progress(range(1000), total=1000, name="run", log=log))
    assert steps(written(log)) == [1000]


def test_no_bar_is_drawn_unless_stderr_is_a_terminal(monkeypatch, log):
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    list(progress(range(3), total=3, name="run", log=log))
    assert stderr.getvalue() == ""
    list(progress(range(3), total=3, name="run"))  # without a log the lines go there
    assert steps(stderr.getvalue()) == [3]


def test_a_terminal_gets_a_bar_and_no_lines(monkeypatch):
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    list(progress(range(3), total=3, name="run"))
    assert "run:" in stderr.getvalue() and "/3" in stderr.getvalue()
    assert not any(LINE.match(line) for line in stderr.getvalue().splitlines())


class Kernel:
    """What `sys.modules["IPython"]` is in a notebook, or in IPython on a terminal (no such application)."""

    def __init__(self, **applications: object):
        self.config = applications

    def get_ipython(self) -> Kernel:
        return self


def test_a_notebook_gets_a_bar_and_no_lines(monkeypatch):
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setitem(sys.modules, "IPython", Kernel(IPKernelApp={}))
    list(progress(range(3), total=3, name="run"))
    assert "run:" in stderr.getvalue() and "/3" in stderr.getvalue()
    assert not any(LINE.match(line) for line in stderr.getvalue().splitlines())


@pytest.mark.parametrize("ipython", [None, Kernel(), Kernel(TerminalIPythonApp={})])
def test_a_script_that_has_imported_ipython_gets_lines(monkeypatch, ipython):
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    list(progress(range(3), total=3, name="run"))
    assert steps(stderr.getvalue()) == [3]


@pytest.mark.parametrize(
    ("application", "terminal", "chosen"),
    [
        ({"IPKernelApp": {}}, False, "tqdm.auto"),
        ({"IPKernelApp": {}}, True, "tqdm.auto"),
        ({}, True, "tqdm.std"),
        ({}, False, None),
    ],
)
def test_the_kind_of_bar_depends_on_who_watches(monkeypatch, application, terminal, chosen):
    monkeypatch.setattr(sys, "stderr", Terminal() if terminal else io.StringIO())
    monkeypatch.setitem(sys.modules, "IPython", Kernel(**application))
    home = {"tqdm.auto": tqdm.auto.tqdm, "tqdm.std": tqdm.std.tqdm}
    assert module._bar() is (home[chosen] if chosen else None)


def test_exceptions_pass(log):
    def failing():
        yield 1
        raise ArithmeticError("diverged")

    got = []
    with pytest.raises(ArithmeticError, match="diverged"):
        for item in progress(failing(), total=5, name="run", log=log):
            got.append(item)
    assert got == [1]
    assert written(log) == ""  # no line says that it went on to the end
