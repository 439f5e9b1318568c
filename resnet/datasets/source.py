"""What every data set has: classes, and two splits of labelled images that are read one at a time."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import numpy as np

from resnet.errors import UserError
from resnet.images.decoding import png

STAMPS = 16  # that are remembered of the same images: several hosts may have copies of their own


class MissingData(UserError):
    """There are no images where the source looks for them."""


class Fingerprint(NamedTuple):
    """What a source's images are known by. Moving or copying them with their times changes neither digest."""

    listing: str  # of the names and sizes of what is read: another listing means other images
    stamp: str  # of the listing and the times of modification: after another stamp, the images may have changed

    @classmethod
    def of(cls, entries: Iterable[tuple[str, int]]) -> Fingerprint:
        """Digest entries of a line for the listing, and a time of modification in ns."""
        listing, stamp = hashlib.sha256(), hashlib.sha256()
        for line, modified in entries:
            listing.update(line.encode(errors="surrogateescape"))
            stamp.update(f"{line}{modified}\n".encode(errors="surrogateescape"))
        return cls(listing.hexdigest(), stamp.hexdigest())


def required_folder(data: Path | None) -> Path:
    """The data folder, for a source that needs one. Raises MissingData if it was not given or does not exist."""
    if data is None:
        raise MissingData("this recipe needs images: say where they are with --data FOLDER, or in luigi.cfg")
    if not data.is_dir():
        raise MissingData(f"{data}: there is no such folder. Give the folder of the images with --data FOLDER.")
    return data


@dataclass(frozen=True)
class FileImage:
    """An image file, or one inside a larger file such as a tar."""

    filename: str
    path: Path
    offset: int = 0  # bytes
    size: int = -1  # bytes; -1: up to the end of the file

    def read(self) -> bytes:
        with open_regular(self.path) as file:
            file.seek(self.offset)
            return file.read(self.size)

    def name(self) -> str:
        return self.filename

    def stamp(self) -> str:
        return stamp_of_part(self.path, self.offset, self.size)

    def length(self) -> int:
        return self.size if self.size >= 0 else self.path.stat().st_size - self.offset


@dataclass(frozen=True)
class PixelImage:
    """Grey pixels, uint8 [height, width], read as a PNG file."""

    filename: str
    pixels: np.ndarray

    def read(self) -> bytes:
        return png(self.pixels)

    def name(self) -> str:
        return self.filename

    def stamp(self) -> str:
        return hashlib.sha256(f"{self.pixels.shape}".encode() + self.pixels.tobytes()).hexdigest()

    def length(self) -> int:
        return self.pixels.nbytes


class Image(Protocol):
    """One image of a data set."""

    @property
    def filename(self) -> str:
        """Unique in the data set."""

    def read(self) -> bytes:
        """The image file. Raises OSError."""

    def name(self) -> str:
        """The filename to store in the image's record."""

    def stamp(self) -> str:
        """Changes whenever the image file may have changed. Cheap: it reads no file. Raises OSError."""

    def length(self) -> int:
        """About how many bytes the image file has. Cheap. Raises OSError."""


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read. Raises OSError for what is no regular file: a pipe would keep its reader waiting."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return open(descriptor, "rb")


def stamp_of_part(path: Path, offset: int, size: int) -> str:
    """The stamp of an image that is part of a file: size and time of the file, and where the part is."""
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns} {offset} {size}"


def with_stamps(stamps: Iterable[str], more: Iterable[str]) -> list[str]:
    """The stamps of the same images, seen at several times or in several places; the newest STAMPS of them."""
    return list(dict.fromkeys([*stamps, *more]))[-STAMPS:]


class IndexedFile(NamedTuple):
    """A TFRecord file made elsewhere, with the places and labels of its n records."""

    path: Path
    offsets: np.ndarray  # int64 [n], bytes
    lengths: np.ndarray  # int64 [n], bytes with the framing
    labels: np.ndarray  # int32 [n], 0-based
    sha256: str


class FileNames:
    """A list of filenames in one block of memory: as objects, 14 million of them would take gigabytes."""

    def __init__(self, names: Iterable[str] = ()):
        self._bytes, self._ends = bytearray(), array("Q", [0])
        self.extend(names)

    def extend(self, names: Iterable[str]) -> None:
        for name in names:
            self._bytes += os.fsencode(name)
            self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[str]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> str:
        return os.fsdecode(bytes(self._bytes[self._ends[i] : self._ends[i + 1]]))


Ignored = dict[str, FileNames]  # what is there and not read, by its kind; names are relative to the data folder


@dataclass(frozen=True)
class Split:
    """Labelled images: `labels` is int32 [n], 0-based; `image(i)` is the i-th image, not yet read."""

    labels: np.ndarray
    image: Callable[[int], Image]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> Split:
        """The images at `indices` (integers), in that order."""
        return Split(self.labels[indices], lambda i: self.image(int(indices[i])))


@dataclass(frozen=True)
class Dataset:
    """Classes and labelled images, as a source lists them."""

    classes: Sequence[tuple[str, str]]  # identifier and name of each class; a label is a position in this list
    train: Split
    validation: Split
    files: dict[str, list[IndexedFile]] = field(default_factory=dict)  # by split, if the source has records already
    ignored: Ignored = field(default_factory=dict)


class Source(Protocol):
    """Where a data set comes from. Creating one is cheap; it raises MissingData if the images are not there."""

    def fingerprint(self) -> Fingerprint | None:
        """What the images are known by; None while they are not there yet."""

    def load(self) -> Dataset:
        """List the images. Raises UserError if the layout or the labels are wrong."""


def split_off_validation(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """Split images into training and validation.

    Validation gets `fraction` (0 to 1) of each class; both get at least one image of every class that has two.
    """
    random = np.random.default_rng(seed)
    kept: list[np.ndarray] = []
    for label in np.unique(split.labels):
        members = np.flatnonzero(split.labels == label)
        count = min(max(round(len(members) * fraction), 1), len(members) - 1)
        kept.append(random.permutation(members)[:count])
    validates = np.zeros(len(split), bool)
    validates[np.concatenate(kept)] = True
    return split.take(np.flatnonzero(~validates)), split.take(np.flatnonzero(validates))
