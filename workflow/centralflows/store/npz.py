"""Arrays in an npz file whose bytes depend on the arrays alone."""

from __future__ import annotations

import os
import secrets
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy import ndarray


def read_npz(file: Path) -> dict[str, ndarray]:
    """Return all arrays of an npz, without pickles, after a check of every entry's checksum.

    Raises:
        zipfile.BadZipFile: the file is truncated, is no zip file, or is compressed. `write_npz` does not compress, so
            no array that is read is larger than its file.
    """
    if not zipfile.is_zipfile(file):  # numpy would report the file as a pickle
        raise zipfile.BadZipFile("truncated, or no zip file at all")
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > file.stat().st_size:
        raise zipfile.BadZipFile(f"compressed, {unpacked:,} bytes in a file of {file.stat().st_size:,}")
    with np.load(file, allow_pickle=False) as archive:
        return {name: np.asarray(archive[name]) for name in archive.files}  # numpy returns other members as bytes


def write_npz(file: Path, arrays: Mapping[str, ndarray]) -> None:
    """Write an npz whose bytes depend on the arrays alone; it exists either as a whole or not at all.

    Entries are not compressed, because a compressor's output depends on its version. Dates are fixed.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}.tmp")
    try:
        with zipfile.ZipFile(temporary, "x", zipfile.ZIP_STORED) as archive:
            for name, array in arrays.items():
                entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
                entry.create_system = 3  # the same on every system; 3 is Unix, with its permissions below
                entry.external_attr = 0o644 << 16
                with archive.open(entry, "w") as stream:
                    np.lib.format.write_array(stream, np.asarray(array, order="C"), version=(1, 0), allow_pickle=False)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
