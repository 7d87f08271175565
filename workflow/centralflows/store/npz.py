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
    """All arrays of an npz, without pickles; the checksum of every entry is checked.

    Raises:
        zipfile.BadZipFile: truncated, no zip file at all, or compressed: `write_npz` stores, and so nothing that is read is
            larger than its file.
    """
    if not zipfile.is_zipfile(file):  # numpy would take the file for a pickle, and say so
        raise zipfile.BadZipFile("truncated, or no zip file at all")
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > file.stat().st_size:
        raise zipfile.BadZipFile(f"compressed, {unpacked:,} bytes in a file of {file.stat().st_size:,}")
    with np.load(file, allow_pickle=False) as archive:
        return {name: np.asarray(archive[name]) for name in archive.files}  # numpy gives other members as bytes


def write_npz(file: Path, arrays: Mapping[str, ndarray]) -> None:
    """Write an npz whose bytes depend on the arrays alone, and that exists either whole or not at all.

    Entries are stored, not compressed: what a compressor writes depends on its version. Dates are fixed.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}.tmp")
    try:
        with zipfile.ZipFile(temporary, "x", zipfile.ZIP_STORED) as archive:
            for name, array in arrays.items():
                entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
                entry.create_system = 3  # the same on every system; 3 is Unix, whose permissions follow
                entry.external_attr = 0o644 << 16
                with archive.open(entry, "w") as stream:
                    np.lib.format.write_array(stream, np.asarray(array, order="C"), version=(1, 0), allow_pickle=False)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
