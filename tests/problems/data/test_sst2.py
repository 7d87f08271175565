"""SST-2 from small files made here."""

import hashlib

import numpy as np
import pytest

from centralflows.config.datasets import Sst2Config
from centralflows.problems.data import sst2
from centralflows.problems.data.make_dataset import make_dataset

TRAIN = 'sentence\tlabel\na fine film \t1\ndull \t0\nso "good\t1\nnaïve , and long \t0\n'
DEV = "sentence\tlabel\nbad \t0\ngood \t1\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train.tsv").write_bytes(TRAIN.encode())
    (tmp_path / "dev.tsv").write_bytes(DEV.encode())
    return tmp_path


def made(folder, **changed):
    return sst2.sst2(**sst2.files(folder), **{"examples": 4, "test_examples": 2, "length": 10} | changed)


def sentence(tokens):
    return bytes(tokens[tokens != sst2.PADDING].tolist()).decode("utf-8", "replace")


def test_sentences_are_bytes_with_one_label_at_the_last(folder):
    data = made(folder)
    assert data.inputs.shape == data.labels.shape == (4, 10) and data.test_inputs.shape == (2, 10)
    assert data.inputs.dtype == data.labels.dtype == np.int64
    assert data.inputs[0].tolist() == [*b"dull", *[256] * 6]
    assert data.labels[0].tolist() == [-1, -1, -1, 0, *[-1] * 6]
    assert [sentence(row) for row in data.inputs] == ["dull", "naïve , a", "a fine fil", 'so "good']  # cut at 10 bytes
    assert data.labels[1].tolist() == [-1] * 9 + [0] and data.labels[2].tolist() == [-1] * 9 + [1]
    assert [sentence(row) for row in data.test_inputs] == ["bad", "good"]
    assert (data.classes, data.symbols) == (2, 257)
    assert made(folder, binary=True).classes == 1


def test_fewer_are_the_first_of_each_class(folder):
    assert [sentence(row) for row in made(folder, examples=2).inputs] == ["dull", "a fine fil"]


def test_the_source_names_the_files_by_their_digests(folder):
    data = made(folder)
    assert hashlib.sha256(TRAIN.encode()).hexdigest() in data.source
    assert hashlib.sha256(DEV.encode()).hexdigest() in data.source
    assert str(folder) not in data.source + data.description


def test_the_configured_folder_is_read_and_its_path_is_recorded_nowhere(folder):
    dataset = Sst2Config(name="sst2", examples=4, test_examples=2, length=10, path=str(folder))
    assert all(np.array_equal(a, b) for a, b in zip(make_dataset(dataset)[:4], made(folder)[:4], strict=True))
    assert "path" not in dataset.model_dump(mode="json")
    given_to_job = Sst2Config.model_validate(dataset.model_dump(mode="json"))
    assert np.array_equal(make_dataset(given_to_job, sst2.files(folder)).inputs, made(folder).inputs)


def test_missing_files_are_named_with_the_cure(folder):
    (folder / "dev.tsv").unlink()
    with pytest.raises(ValueError) as error:
        sst2.files(folder)
    assert f"there is no {folder / 'dev.tsv'}; download https://" in str(error.value)
    assert "train.tsv and dev.tsv as `path`" in str(error.value)
    with pytest.raises(ValueError, match=r"there is no .*train\.tsv and no .*dev\.tsv"):
        sst2.files(folder / "nowhere")


def test_the_home_folder_is_understood(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert sst2.files("~")["train"] == folder / "train.tsv"


def test_other_columns_and_line_ends_change_nothing():
    expected = sst2.parse(TRAIN.encode(), where="a")
    lines = [line.split("\t") for line in TRAIN.splitlines()]
    other = "\r\n".join("\t".join([cells[1], "x", cells[0]]) for cells in lines)
    found = sst2.parse(b"\xef\xbb\xbf" + other.encode(), where="b")
    assert found[0] == expected[0] and np.array_equal(found[1], expected[1])


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "line 1: needs the columns sentence and label, once each (got nothing)"),
        (
            b"index\tsentence\n0\thallo\n",
            "line 1: needs the columns sentence and label, once each (got 'index', 'sentence')",
        ),
        (b"sentence\tlabel\tlabel\n", "line 1: needs the columns"),
        (b"\x1f\x8b\x08\x00", "line 1: needs the columns"),
        (b"sentence\tlabel\na\t1\nb\n", "line 3: must have 2 columns (got 1)"),
        (b"sentence\tlabel\na\tb\t1\n", "line 2: must have 2 columns (got 3)"),
        (b"sentence\tlabel\na\t1\n\nb\t1\n", "line 3: must have 2 columns (got 1)"),
        (b"sentence\tlabel\na\t1\nb\t2\n", "line 3: label must be 0 or 1 (got '2')"),
        (b"sentence\tlabel\na\tpositive\n", "line 2: label must be 0 or 1 (got 'positive')"),
        (b"sentence\tlabel\n \t1\n", "line 2: the sentence is empty"),
        (b"sentence\tlabel\n\xff\xfe\t1\n", "line 2: the sentence is not UTF-8"),
    ],
)
def test_malformed_files_are_refused_with_their_line(folder, data, message):
    (folder / "dev.tsv").write_bytes(data)
    with pytest.raises(ValueError) as error:
        made(folder)
    assert str(error.value).startswith(f"{folder / 'dev.tsv'}, {message}")


def test_too_few_sentences_say_what_there_is(folder):
    with pytest.raises(
        ValueError, match=r"dev\.tsv: 2 examples of each of 2 classes asked; there are 1 of class 0, 1 of"
    ):
        made(folder, test_examples=4)


def test_all_mistakes_are_listed(folder):
    with pytest.raises(ValueError) as error:
        made(folder, examples=3, test_examples=0, length=0)
    for name in ("examples must be a positive multiple of classes = 2 (got 3)", "test_examples", "length must be"):
        assert name in str(error.value)
