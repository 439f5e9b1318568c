"""Reading records from disks that fail for a moment, and past the page cache."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from resnet.files import PAUSES, TRANSIENT
from resnet.records.example import LabelledImage, decode
from resnet.records.shards import RecordReader, Shard, ShardedRecords, write_classes
from resnet.records.tfrecord import CorruptRecord


def write_shard(folder: Path, sizes: list[int]) -> ShardedRecords:
    """One shard of records of these sizes."""
    (folder / "index").mkdir()
    write_classes(folder, [("class", "class")])
    images = [LabelledImage(os.urandom(size), "JPEG", 4, 5, 0, "class", "class", f"{size}.jpg") for size in sizes]
    Shard(folder, "train-00000-of-00001").write(images)
    return ShardedRecords(folder, "train")


@pytest.fixture
def records(tmp_path) -> ShardedRecords:
    return write_shard(tmp_path, [100, 200, 300])


class Disk:
    """os.pread, which fails with the given errors before it works. Notes the descriptors that were read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *numbers: int):
        self.numbers, self.descriptors, self._pread = list(numbers), [], os.pread
        monkeypatch.setattr(os, "pread", self.read)

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        self.descriptors.append(descriptor)
        if self.numbers:
            number = self.numbers.pop(0)
            raise OSError(number, os.strerror(number))
        return self._pread(descriptor, size, offset)


def patient(records: ShardedRecords) -> tuple[RecordReader, list[str], list[float]]:
    """A reader, what it warns of, and how long it pauses."""
    warnings: list[str] = []
    pauses: list[float] = []
    return RecordReader(records.shards, warn=warnings.append, pause=pauses.append), warnings, pauses


@pytest.mark.parametrize("number", sorted(TRANSIENT))
def test_a_record_on_a_disk_that_is_away_for_a_moment_is_read_again_and_counted(records, monkeypatch, number):
    reader, warnings, pauses = patient(records)
    Disk(monkeypatch, number, number)
    _, offset, length, _ = records.index[1].item()
    assert len(decode(reader.payload(0, offset, length)).encoded) == 200
    assert (reader.retries, pauses) == (2, [1.0, 2.0])
    assert warnings == [
        f"{records.shards[0]}: {os.strerror(number)}; it is opened and read again in {seconds} s" for seconds in (1, 2)
    ]


def test_a_shard_that_became_stale_is_opened_again(records, monkeypatch):
    reader, _, _ = patient(records)
    opened: list[Path] = []
    os_open = os.open
    monkeypatch.setattr(os, "open", lambda path, *flags: opened.append(path) or os_open(path, *flags))
    _, offset, length, _ = records.index[0].item()
    reader.payload(0, offset, length)
    Disk(monkeypatch, errno.ESTALE)
    before = set(os.listdir("/proc/self/fd"))
    reader.payload(0, offset, length)
    assert opened == [records.shards[0]] * 2
    assert len(set(os.listdir("/proc/self/fd")) - before) == 0
    assert reader.open_files == 1


def test_a_disk_that_stays_away_is_an_error_that_names_the_shard(records, monkeypatch):
    reader, warnings, pauses = patient(records)
    Disk(monkeypatch, *[errno.EIO] * 100)
    with pytest.raises(OSError, match="Input/output error") as error:
        reader.payload(0, 0, 100)
    assert error.value.filename == str(records.shards[0])
    assert pauses == list(PAUSES)
    assert reader.retries == len(warnings) == len(PAUSES)


def test_a_shard_that_does_not_exist_is_an_error_at_once(records):
    reader, warnings, pauses = patient(records)
    records.shards[0].unlink()
    with pytest.raises(FileNotFoundError) as error:
        reader.payload(0, 0, 100)
    assert error.value.filename == str(records.shards[0])
    assert (reader.retries, warnings, pauses) == (0, [], [])


def resident(path: Path, start: int, length: int) -> np.ndarray:
    """Whether each page of a range of bytes is in the page cache: bool [pages]."""
    libc = ctypes.CDLL(None, use_errno=True)
    first = start // mmap.PAGESIZE * mmap.PAGESIZE
    pages = -(-(start + length - first) // mmap.PAGESIZE)
    vector = np.zeros(pages, np.uint8)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE) as memory:
        view = np.frombuffer(memory, np.uint8)
        address = ctypes.c_void_p(view.ctypes.data + first)
        size = ctypes.c_size_t(length + start - first)
        assert libc.mincore(address, size, ctypes.c_void_p(vector.ctypes.data)) == 0
        del view
    return (vector & 1).astype(bool)


def cache(path: Path) -> None:
    """Have a whole file in the page cache."""
    with open(path, "rb") as file:
        while file.read(1 << 20):
            pass


@pytest.fixture
def on_disk(tmp_path) -> Iterator[Path]:
    """A folder whose files can be dropped from the page cache: not a tmpfs."""
    if not hasattr(ctypes.CDLL(None), "mincore") or not hasattr(os, "posix_fadvise"):
        pytest.skip("this system has no mincore or posix_fadvise")
    for place in (tmp_path, Path(__file__).parent):
        with tempfile.TemporaryDirectory(dir=place) as folder:
            probe = Path(folder) / "probe"
            with open(probe, "wb") as file:
                file.write(bytes(1 << 16))
                file.flush()
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            if not resident(probe, 0, 1 << 16).any():
                probe.unlink()
                yield Path(folder)
                return
    pytest.skip("no folder found whose files can be dropped from the page cache")


@pytest.mark.parametrize("record", [0, 1, 2, 3])
def test_a_corrupt_record_is_read_again_from_the_disk_with_all_its_pages(on_disk, monkeypatch, record):
    # None of these records begins or ends with a page, and the last one ends with the file.
    records = write_shard(on_disk, [5000, 700, 90_000, 3000])
    path, (_, offset, length, _) = records.shards[0], records.index[record].item()
    cache(path)
    assert resident(path, offset, length).all()
    at_second_read: list[bool] = []
    pread, reads = os.pread, []

    def wrong_once(descriptor: int, size: int, start: int) -> bytes:
        reads.append(start)
        if len(reads) == 4:  # header, payload and checksum make three
            at_second_read.extend(resident(path, offset, length))
        return bytes(size) if len(reads) == 2 else pread(descriptor, size, start)

    monkeypatch.setattr(os, "pread", wrong_once)
    reader = RecordReader(records.shards)
    assert decode(reader.payload(0, offset, length)).filename == f"{[5000, 700, 90_000, 3000][record]}.jpg"
    assert reader.second_reads == 1
    assert at_second_read
    assert not any(at_second_read)


def test_a_record_is_corrupt_if_it_is_so_on_the_disk_too(on_disk):
    records = write_shard(on_disk, [5000])
    content = bytearray(records.shards[0].read_bytes())
    content[2500] ^= 1
    records.shards[0].write_bytes(content)
    with pytest.raises(CorruptRecord, match="its checksum does not match"):
        RecordReader(records.shards).payload(0, 0, len(content))
