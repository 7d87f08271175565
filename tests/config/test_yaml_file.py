"""Configuration files: what is read, and that everything else is refused with its key."""

from __future__ import annotations

import json
import re
import time

import pytest

from centralflows.config.messages import ConfigError
from centralflows.config.profile import load
from centralflows.config.yaml_file import LARGEST, MOST, read


def write(tmp_path, text: str | bytes):
    file = tmp_path / "file.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@pytest.mark.parametrize(
    "text, reason",
    [
        ("runs: [", "while parsing a flow node"),
        ("a: b: c", "mapping values are not allowed here"),
        ("a:\n\tb: 1", "found character '\\t' that cannot start any token"),
        ("a: *b", "found undefined alias 'b'"),
        ("a: 1\n---\na: 2", "but found another document"),
        ("a: 1\0", "special characters are not allowed"),
        ("[" * 5000, "recursion"),
        ("<<: 3", "expected a mapping or list of mappings for merging"),
        (b"\xff\xfe\x00", "can't decode byte"),
        ("#" * (LARGEST + 1), "larger than 256 KiB"),
    ],
    ids=lambda value: "" if len(value) > 100 else None,
)
def test_files_that_are_not_yaml_are_refused(tmp_path, text, reason):
    file = write(tmp_path, text)
    with pytest.raises(
        ConfigError, match=rf"^ConfigError: {re.escape(str(file))} cannot be read: .*{re.escape(reason)}"
    ):
        load(file)


@pytest.mark.parametrize(
    "text, line",
    [
        ("a: [1, 2020-99-01]", "a.1: cannot be read: month must be in 1..12"),
        ("a: !!int ''", "a: cannot be read: string index out of range"),
        ("a: !!bool perhaps", "a: cannot be read: 'perhaps'"),
        ("a: !!timestamp now", "a: cannot be read: 'NoneType' object"),
        ("a: " + "9" * 5000, "a: cannot be read: Exceeds the limit (4300 digits)"),
        ("a: !!python/name:os.system", "a: cannot be read: could not determine a constructor for the tag "),
        ("a: {b: !!python/object:os.system {}}", "a.b: must be a plain mapping or list (got the tag 'tag:yaml.org,2002:python"),
        ("a: !!set {b, c}", "a: must be a plain mapping or list (got the tag 'tag:yaml.org,2002:set')"),
        ("? [a]\n: b", "the file: a key must be text (line 1)"),
        ("a: 1\nb:\n  c: 1\n  d: 2\n  'c': 3", "b.c: is written twice, in lines 3 and 5"),
        ('{"a": 1,\n "a": 2}', "a: is written twice, in lines 1 and 2"),
        ("a: &a\n  b: *a", "a.b: contains itself"),
        ("a: &a\n  b: [{c: *a}]", "a.b.0.c: contains itself"),
        ("__use_yte__: true\na: ?print()", "__use_yte__: makes Snakemake run the Python that is in the file; leave it out"),
        ("a: &a {__use_yte__: true}\n<<: *a", "__use_yte__: makes Snakemake run the Python"),
    ],
    ids=lambda value: value[:30],
)  # fmt: skip
def test_each_mistake_is_named(tmp_path, text, line):
    with pytest.raises(ConfigError) as error:
        read(write(tmp_path, text))
    head, found, foot = str(error.value).splitlines()
    assert head.endswith("file.yaml has 1 error") and found.startswith(f"  {line}")
    assert foot == "Every key is described in config/README.md."


def test_all_mistakes_come_at_once(tmp_path):
    with pytest.raises(ConfigError, match=r"(?s)has 3 errors.* a: .* b.c: .* a: is written twice"):
        read(write(tmp_path, "a: 2020-99-01\nb: {c: !!int ''}\na: 1"))


@pytest.mark.parametrize("form", ["[{}]", "{{{}}}", "{{<<: [{}]}}"], ids=["lists", "mappings", "merges"])
def test_a_bomb_of_aliases_is_refused_at_once(tmp_path, form):
    """Twenty levels of ten aliases each: 10^20 values in 1 KB."""
    lines = ["a0: &a0 {x: 1}"]
    for level in range(1, 21):
        aliases = [f"*a{level - 1}"] * 10
        if form == "{{{}}}":
            aliases = [f"k{place}: {alias}" for place, alias in enumerate(aliases)]
        lines.append(f"a{level}: &a{level} {form.format(', '.join(aliases))}")
    began = time.monotonic()
    with pytest.raises(ConfigError, match=rf"a5\S*: is \d\d\d,\d\d\d values with .* there can be {MOST:,}"):
        read(write(tmp_path, "\n".join(lines)))
    assert time.monotonic() - began < 5


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml cannot be read: No such file or directory$"):
        load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load("\0")


@pytest.mark.parametrize("text, kind", [("", "nothing"), ("- a", "a list"), ("profile", "'profile'")])
def test_a_file_must_be_a_mapping(tmp_path, text, kind):
    with pytest.raises(ConfigError, match=f"file.yaml must be a mapping of keys, not {kind}$"):
        load(str(write(tmp_path, text)))


def test_json_is_read_as_well(tmp_path):
    value = {"a": [1, 2.5, None, True, "x"], "b": {"c": -1}}
    assert read(write(tmp_path, json.dumps(value))) == value


def test_aliases_and_merges_are_read(tmp_path):
    file = write(
        tmp_path,
        "profile: a\nruns:\n  one: &one\n    dataset: {name: cifar10}\n    model: {name: cnn}\n"
        "    optimizer: {name: gd, lr: 0.1}\n    steps: 3\n  two:\n    <<: *one\n    steps: 4\n",
    )
    assert [run.steps for run in load(file).runs.values()] == [3, 4]


def test_a_mapping_that_contains_itself_is_refused():
    """Not from a file, but from who calls the library."""
    loop: dict = {"name": "x"}
    loop["central"] = loop
    with pytest.raises(ConfigError, match="runs: nested too deeply"):
        load({"profile": "a", "defaults": loop, "runs": {"one": loop}})
