"""Shards: the files of a data set's records, written atomically and read one record at a time.

    <folder>/train-00000-of-01024              a TFRecord file
    <folder>/index/train-00000-of-01024.npy    its index: offset, length (framing included) and label of each record
    <folder>/index/train-00000-of-01024.json   its summary: written last, so a shard with a summary is finished

The indexes have a folder of their own, so that `train-*` matches only TFRecord files, for every reader.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resnet.checked_json import corrupt, read_json, write_json
from resnet.errors import UserError
from resnet.files import atomic, sha256, temporary_name, with_retries
from resnet.records.example import LabelledImage, encode
from resnet.records.tfrecord import FOOTER, HEADER, CorruptRecord, check, frame

logger = logging.getLogger(__name__)

INDEX_TYPE = np.dtype([("offset", "<i8"), ("length", "<i4"), ("label", "<i4")])
SPLITS = ("train", "validation")
FORMER_KEYS = {"doubtful": "decode_warnings"}  # in summaries that earlier versions wrote
# The page cache drops whole folios only, so more than a record: up to the next multiples of what no folio exceeds.
DROPPED = 1 << 25  # bytes


def shard_name(split: str, number: int, of: int) -> str:
    """A shard's filename, by the convention of TensorFlow's ImageNet scripts. `number` counts from 0."""
    return f"{split}-{number:05d}-of-{of:05d}"


@dataclass(frozen=True)
class Shard:
    """One shard of a records folder."""

    folder: Path
    name: str

    @property
    def path(self) -> Path:
        return self.folder / self.name

    @property
    def index_path(self) -> Path:
        return self.folder / "index" / f"{self.name}.npy"

    @property
    def summary_path(self) -> Path:
        return self.folder / "index" / f"{self.name}.json"

    def write(self, images: Iterable[LabelledImage], **facts: Any) -> dict[str, Any]:
        """Write the shard, its index and its summary; return the summary: records, checksums and `facts`.

        `facts` must be JSON values. A shard that is interrupted has no summary.
        """
        entries, digest, offset = [], hashlib.sha256(), 0
        self.summary_path.unlink(missing_ok=True)  # of an earlier shard of this name
        with atomic(self.path) as file:
            for image in images:
                record = frame(encode(image))
                file.write(record)
                digest.update(record)
                entries.append((offset, len(record), image.label))
                offset += len(record)
        return self._describe(np.array(entries, INDEX_TYPE), offset, digest.hexdigest(), facts)

    def link(self, path: Path, index: np.ndarray, sha256: str, **facts: Any) -> dict[str, Any]:
        """Link the TFRecord file `path` as this shard; write `index` (INDEX_TYPE) and the summary, and return that."""
        self.summary_path.unlink(missing_ok=True)
        temporary = temporary_name(self.path)
        temporary.symlink_to(path)
        os.replace(temporary, self.path)
        return self._describe(index, path.stat().st_size, sha256, facts)

    def _describe(self, entries: np.ndarray, size: int, sha256: str, facts: dict[str, Any]) -> dict[str, Any]:
        index = io.BytesIO()
        np.save(index, entries, allow_pickle=False)
        with atomic(self.index_path) as file:
            file.write(index.getvalue())
        index_sha256 = hashlib.sha256(index.getvalue()).hexdigest()
        summary = {"records": len(entries), "bytes": size, "sha256": sha256, "index_sha256": index_sha256, **facts}
        self.write_summary(summary)
        return summary

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write the summary, which makes the shard a finished one."""
        write_json(self.summary_path, summary)

    def summary(self) -> dict[str, Any] | None:
        """The summary; None if the shard is unfinished. One with a missing or corrupt file is named in a warning."""
        required = {"records", "bytes", "sha256", "index_sha256"}
        try:
            summary = read_json(self.summary_path, required, "The shard is made again.")
            if summary is None:
                return None
            if self.path.stat().st_size != summary["bytes"]:
                raise corrupt(self.path, "it has another size than it was written with", "The shard is made again.")
            if sha256(self.index_path) != summary["index_sha256"]:
                raise corrupt(self.index_path, "its checksum does not match", "The shard is made again.")
        except UserError as error:
            logger.warning("%s", error)
            return None
        except OSError as error:
            logger.warning("%s cannot be read: %s. The shard is made again.", error.filename, error.strerror)
            return None
        return {FORMER_KEYS.get(key, key): value for key, value in summary.items()}

    def files(self) -> list[Path]:
        """The shard and the files that describe it."""
        return [self.path, self.index_path, self.summary_path]


class ShardedRecords:
    """The index of one split of a records folder. Raises UserError if there are no records.

    `index` has one entry per record, shard after shard: `shard`, `length` (bytes), `label` (int32), `offset` (int64).
    """

    def __init__(self, folder: Path, split: str):
        paths = sorted((folder / "index").glob(f"{split}-*.npy"))
        if not paths:
            raise UserError(f"{folder} has no {split} records. Run ConvertRecords first.")
        self.folder = folder
        self.shards = [folder / path.stem for path in paths]
        self.classes = read_classes(folder)
        indices = deque(_read_index(path) for path in paths)
        self.index = np.empty(sum(map(len, indices)), [("shard", "<i4"), *INDEX_TYPE.descr])
        start = 0
        for number in range(len(paths)):
            entries = indices.popleft()  # drops the file's mapping after the copy, which would double the memory
            rows = self.index[start : start + len(entries)]
            rows["shard"] = number
            for field in INDEX_TYPE.names or ():
                rows[field] = entries[field]
            _check_labels(rows["label"], len(self.classes), paths[number])
            start += len(entries)

    def __len__(self) -> int:
        return len(self.index)

    def is_among(self, corrupt: Iterable[str], record: int) -> bool:
        """Whether a record is one of those that these messages of a loader say are corrupt."""
        entry = self.index[record]
        place = f"{self.shards[entry['shard']].name}: the record at byte {entry['offset']} "
        return any(message.startswith(place) for message in corrupt)


def way_to_mend(shard: Path) -> str:
    """What a user can do about a shard with a corrupt record."""
    if shard.is_symlink():  # records.in_place
        return f"The shard is a link to {os.path.realpath(shard)}: get that file again."
    return "To repair the shard, delete it and run ConvertRecords; or `python -m resnet verify --mend`."


def _check_labels(labels: np.ndarray, classes: int, path: Path) -> None:
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise UserError(
            f"{path} has labels from {labels.min()} to {labels.max()}, but classes.txt lists {classes} classes. "
            "They are of two conversions: delete the folder of records and run ConvertRecords."
        )


def _read_index(path: Path) -> np.ndarray:
    try:
        entries = np.load(path, mmap_mode="r", allow_pickle=False)
        if entries.dtype != INDEX_TYPE:
            raise ValueError(f"its entries have type {entries.dtype}")
    except (ValueError, EOFError) as error:
        raise UserError(f"{path} is not the index of a shard ({error}). Delete it and run ConvertRecords.") from None
    return entries


class RecordReader:
    """Reads records by shard, offset and length, and keeps at most `most_open` shards open.

    If a record does not match its checksum, it is read once more from the disk instead of the page cache, since memory
    fails more often than disks. `second_reads` counts the records that matched then.

    A read that fails because a network disk is away is tried again for a minute (see `resnet.files.with_retries`). Each
    time, `warn` gets a sentence about it, and `retries` counts it.
    """

    def __init__(
        self,
        shards: Sequence[Path],
        most_open: int = 512,
        *,
        warn: Callable[[str], None] = logger.warning,
        pause: Callable[[float], None] = time.sleep,
    ):
        self._shards, self._warn, self._pause = shards, warn, pause
        self._most_open = most_open  # many systems allow a process 1,024 open files, and ImageNet has 1,024 shards
        self._descriptors: dict[int, int] = {}
        self.second_reads = self.retries = 0

    @property
    def open_files(self) -> int:
        """How many shards are open."""
        return len(self._descriptors)

    def payload(self, shard: int, offset: int, length: int) -> bytes:
        """The serialised Example at `offset`, `length` bytes with the framing. Errors name the shard.

        Raises CorruptRecord or OSError.
        """

        def try_again(error: OSError, seconds: float) -> None:
            self.retries += 1
            self._warn(f"{self._shards[shard]}: {error.strerror}; it is opened and read again in {seconds:.0f} s")
            self._close(shard)

        try:
            return with_retries(lambda: self._read_twice(shard, offset, length), try_again, pause=self._pause)
        except CorruptRecord as error:
            raise CorruptRecord(f"{self._shards[shard]}: the record at byte {offset} is corrupt: {error}") from None
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._shards[shard])) from None

    def _read_twice(self, shard: int, offset: int, length: int) -> bytes:
        """Read a record, and once more past the page cache if it does not match its checksum."""
        descriptor = self._open(shard)
        try:
            return self._read(descriptor, offset, length)
        except CorruptRecord:
            _drop_from_page_cache(descriptor, offset, length)
            payload = self._read(descriptor, offset, length)
            self.second_reads += 1
            return payload

    def _open(self, shard: int) -> int:
        if shard not in self._descriptors:
            if len(self._descriptors) >= self._most_open:
                self._close(next(iter(self._descriptors)))
            self._descriptors[shard] = os.open(self._shards[shard], os.O_RDONLY | os.O_CLOEXEC)
        return self._descriptors[shard]

    def _read(self, descriptor: int, offset: int, length: int) -> bytes:
        size = max(length - HEADER - FOOTER, 0)
        header = os.pread(descriptor, HEADER, offset)
        payload = os.pread(descriptor, size, offset + HEADER)  # a read of its own, because slicing would copy it
        check(header, payload, os.pread(descriptor, FOOTER, offset + HEADER + size))
        return payload

    def _close(self, shard: int) -> None:
        if shard in self._descriptors:
            try:
                os.close(self._descriptors.pop(shard))
            except OSError:  # a disk that is away may fail this too, and has released the descriptor then
                pass

    def close(self) -> None:
        """Close all shards. The next `payload` opens its shard again."""
        for shard in list(self._descriptors):
            self._close(shard)


def _drop_from_page_cache(descriptor: int, offset: int, length: int) -> None:
    if hasattr(os, "posix_fadvise"):
        start, end = offset // DROPPED * DROPPED, -(-(offset + length) // DROPPED) * DROPPED
        os.posix_fadvise(descriptor, start, end - start, os.POSIX_FADV_DONTNEED)


def write_classes(folder: Path, classes: Sequence[tuple[str, str]]) -> Path:
    """Write classes.txt, a line per class in the order of their labels: identifier, tab, readable name."""
    with atomic(folder / "classes.txt", "w") as file:
        file.writelines(f"{identifier}\t{text}\n" for identifier, text in classes)
    return folder / "classes.txt"


def read_classes(folder: Path) -> list[tuple[str, str]]:
    """Identifier and readable name of each class, from classes.txt. Raises UserError if it is missing."""
    try:
        text = (folder / "classes.txt").read_bytes().decode("utf-8", "surrogateescape")
    except OSError:
        raise UserError(f"{folder / 'classes.txt'} is missing. Run ConvertRecords first.") from None
    lines = text.removesuffix("\n").split("\n")  # splitlines would also split at other characters, such as U+2028
    return [(identifier, name) for identifier, _, name in (line.partition("\t") for line in lines)]
