"""SST-2, positive and negative sentences of film reviews, from the user's copy of the GLUE files.

Sentences are read byte by byte: 256 symbols and one for padding need no vocabulary. A word-piece tokenizer would add a
compiled dependency and a second download.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from ...common.errors import UnusableData
from .class_labels import first_of_each, output_units, uneven
from .dataset import MASKED, Dataset

PADDING = 256
"""Symbol that fills a sentence to the common length; the symbols below it are bytes of UTF-8."""

URL = "https://dl.fbaipublicfiles.com/glue/data/SST-2.zip"
SOURCE = (
    "SST-2 of GLUE (R. Socher et al., Recursive Deep Models for Semantic Compositionality Over a Sentiment Treebank,"
    " 2013; A. Wang et al., GLUE, 2019), https://gluebenchmark.com"
)
LICENCE = "none stated; its authors ask for a citation"

NAMES = {"train": "train.tsv", "dev": "dev.tsv"}
CURE = (
    f"download {URL} (SST-2 of https://gluebenchmark.com/tasks), unpack it, and give the folder that holds train.tsv and"
    " dev.tsv as `path` of the dataset"
)


def files(folder: Path | str) -> dict[str, Path]:
    """Return the two files of a copy, by part.

    Raises:
        UnusableData: a file is missing; the message gives the expected path and the cure.
    """
    found = {part: Path(os.path.expanduser(folder)) / name for part, name in NAMES.items()}
    if missing := [str(file) for file in found.values() if not file.is_file()]:
        raise UnusableData(f"SST-2: there is no {' and no '.join(missing)}; {CURE}")
    return found


def sst2(
    *,
    examples: int,
    test_examples: int,
    length: int = 64,
    binary: bool = False,
    path: Path | str | None = None,
    train: Path | None = None,
    dev: Path | None = None,
) -> Dataset:
    """Return the first sentences of each class as bytes, with one label each.

    Networks for tokens have an output at every position. Only the position of a sentence's last byte is labelled, as a
    causal network has seen the whole sentence there. The labels of all other positions are masked.

    Args:
        examples, test_examples: sentences over both classes [count], even.
        length: bytes of a sentence [count]; longer sentences are cut, and shorter ones are padded with `PADDING`.
        binary: one output unit instead of two.
        path: folder with the two files, used unless both are given.
        train, dev: tab-separated files with columns `sentence` and `label`. The published test file has no labels, so
            test examples come from dev.

    Returns:
        inputs and labels, int64 `[n, length]`; class 1 is positive. Ordered by class and then as in the file.

    Raises:
        OSError: a file cannot be read.
        UnusableData: a file is malformed (the message names the line), or has too few sentences of a class.
    """
    mistakes = uneven(2, examples=examples, test_examples=test_examples)
    mistakes += [f"  length must be at least 1 (got {length})"] if length < 1 else []
    if mistakes:
        raise UnusableData("\n".join(["cannot make the SST-2 dataset", *mistakes]))
    arrays: list[ndarray] = []
    digests = []
    given = {"train": train, "dev": dev} if train and dev else files(path)
    for (part, file), count in zip(given.items(), (examples, test_examples), strict=True):
        data = file.read_bytes()
        digests.append(f"{part} sha256 {hashlib.sha256(data).hexdigest()}")
        sentences, classes = parse(data, where=str(file))
        try:
            rows = first_of_each(classes, classes=2, count=count)
        except UnusableData as error:
            raise UnusableData(f"{file}: {error}") from None
        arrays += tokenise([sentences[row] for row in rows], classes[rows], length=length)
    return Dataset(
        *arrays,
        classes=output_units(2, binary),
        symbols=PADDING + 1,
        description=f"SST-2, {length} bytes of a sentence: {examples} training and {test_examples} test sentences",
        source=f"{SOURCE}; {', '.join(digests)}",
        licence=LICENCE,
    )


def parse(data: bytes, *, where: str) -> tuple[list[bytes], Int64[ndarray, " n"]]:
    """Return the sentences (UTF-8, stripped of spaces) and labels of a tab-separated file.

    Quotes have no special meaning.

    Raises:
        UnusableData: names the first malformed line.
    """
    lines = data.removeprefix(b"\xef\xbb\xbf").splitlines()
    header = lines[0].split(b"\t") if lines else []
    if header.count(b"sentence") != 1 or header.count(b"label") != 1:
        raise UnusableData(f"{where}, line 1: needs the columns sentence and label, once each (got {_shown(header)})")
    sentence_column, label_column = header.index(b"sentence"), header.index(b"label")
    sentences, labels = [], []
    for number, line in enumerate(lines[1:], start=2):
        cells = line.split(b"\t")
        if len(cells) != len(header):
            raise UnusableData(f"{where}, line {number}: must have {len(header)} columns (got {len(cells)})")
        sentence, label = cells[sentence_column].strip(), cells[label_column].strip()
        if label not in (b"0", b"1"):
            raise UnusableData(f"{where}, line {number}: label must be 0 or 1 (got {_shown([label])})")
        if not sentence:
            raise UnusableData(f"{where}, line {number}: the sentence is empty")
        try:
            sentence.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UnusableData(f"{where}, line {number}: the sentence is not UTF-8: {error.reason}") from None
        sentences.append(sentence)
        labels.append(int(label))
    return sentences, np.array(labels, np.int64)


def tokenise(
    sentences: Sequence[bytes], classes: Int64[ndarray, " n"], *, length: int
) -> tuple[Int64[ndarray, "n length"], Int64[ndarray, "n length"]]:
    """Return bytes as symbols, padded at the end, and labels that are masked except at the last byte.

    No sentence may be empty.
    """
    tokens = np.full((len(sentences), length), PADDING, np.int64)
    labels = np.full((len(sentences), length), MASKED, np.int64)
    for row, sentence in enumerate(sentences):
        kept = sentence[:length]
        tokens[row, : len(kept)] = np.frombuffer(kept, np.uint8)
        labels[row, len(kept) - 1] = classes[row]
    return tokens, labels


def _shown(cells: Sequence[bytes]) -> str:
    """Return cells as text for a message, cut if they are long."""
    return ", ".join(repr(cell[:40].decode("utf-8", "replace")) for cell in cells[:5]) or "nothing"
