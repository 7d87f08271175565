"""Digests of code: what changes them, and what does not."""

from __future__ import annotations

import pytest

from centralflows.common import hashing
from centralflows.common.hashing import scanned, source_digest

SOURCES = {
    "scripts/job.py": '"""A job."""\nfrom fake.direct import f\n\nprint(f(1))  # the answer\n',
    "fake/__init__.py": '"""A package."""\n',
    "fake/direct.py": '"""Direct."""\nfrom . import relative\nfrom .inner.deep import g\n\n\n'
    'def f(x):\n    """Doc."""\n    return g(x) + relative.c\n',
    "fake/relative.py": "c = 1\n",
    "fake/inner/__init__.py": "from .sibling import d\n",
    "fake/inner/deep.py": "def g(x):\n    from ..late import h\n    import fake.absolute as a\n    return h(x) * a.e\n",
    "fake/inner/sibling.py": "d = 4\n",
    "fake/late.py": "def h(x):\n    return x\n",
    "fake/absolute.py": "import fake.plain\n\ne = 5\n",
    "fake/plain.py": "k = 6\n",
    "fake/unrelated.py": "u = 7\n",
    "fake/inner/unrelated.py": "u = 8\n",
}  # fmt: skip
USED = [name for name in SOURCES if "unrelated" not in name]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A small repository with a package of its own."""
    for name, text in SOURCES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(hashing, "REPOSITORY", tmp_path)
    monkeypatch.setattr(hashing, "PACKAGE", tmp_path / "fake")
    yield tmp_path
    scanned.cache_clear()


def current() -> str:
    scanned.cache_clear()
    return source_digest("scripts/job.py")


@pytest.mark.parametrize("name", USED)
def test_code_that_is_used_changes_the_digest(tree, name):
    before = current()
    with (tree / name).open("a") as file:
        file.write("\nnew = 1\n")
    assert current() != before


@pytest.mark.parametrize("name", sorted(SOURCES.keys() - set(USED)))
def test_code_that_is_not_used_does_not(tree, name):
    before = current()
    (tree / name).write_text("changed = True\n")
    assert current() == before


@pytest.mark.parametrize(
    "old, new",
    [
        ('"""Direct."""', '"""Other words."""'),
        ('"""Direct."""\n', ""),
        ('    """Doc."""\n', '    """Longer.\n\n    Words.\n    """\n'),
        ("g(x) + relative.c", "(  g(x)\n        + relative.c)  # in two lines"),
        ("\n\n\ndef", "\n\n# a comment\n\ndef"),
    ],
)
def test_prose_and_layout_do_not_change_the_digest(tree, old, new):
    before = current()
    file = tree / "fake/direct.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    assert current() == before


@pytest.mark.parametrize("old, new", [("g(x) + relative.c", "g(x) - relative.c"), ("def f(x)", "def f(x, y=0)")])
def test_small_changes_of_code_change_the_digest(tree, old, new):
    before = current()
    file = tree / "fake/direct.py"
    file.write_text(file.read_text().replace(old, new))
    assert current() != before


def test_a_text_that_is_a_value_is_not_a_docstring(tree):
    file = tree / "fake/relative.py"
    file.write_text("c = 'one'\n")
    before = current()
    file.write_text("c = 'two'\n")
    assert current() != before


def test_swapped_modules_change_the_digest(tree):
    before = current()
    one, two = tree / "fake/relative.py", tree / "fake/plain.py"
    contents = one.read_text(), two.read_text()
    one.write_text(contents[1])
    two.write_text(contents[0])
    assert current() != before


def test_modules_that_import_each_other_are_digested(tree):
    before = current()
    (tree / "fake/relative.py").write_text("from . import direct\n\nc = 1\n")
    assert current() != before


def test_the_digest_is_the_same_wherever_the_repository_stands(tree, tmp_path_factory, monkeypatch):
    before = current()
    moved = tmp_path_factory.mktemp("elsewhere") / "repository"
    tree.rename(moved)
    monkeypatch.setattr(hashing, "REPOSITORY", moved)
    monkeypatch.setattr(hashing, "PACKAGE", moved / "fake")
    assert current() == before
    moved.rename(tree)
