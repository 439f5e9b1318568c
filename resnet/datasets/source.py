"""What every data set is: classes, and two splits of labelled images that are read one at a time."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from resnet.errors import UserError
from resnet.images.decoding import png


class MissingData(UserError):
    """The images are not where they were looked for."""


@dataclass(frozen=True)
class FileImage:
    """An image file, or the bytes of one inside a larger file (a tar)."""

    filename: str
    path: Path
    offset: int = 0
    size: int = -1

    def read(self) -> bytes:
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return file.read(self.size)

    def name(self) -> str:
        return self.filename


@dataclass(frozen=True)
class PixelImage:
    """Pixels that never were a file: uint8 [height, width] grey."""

    filename: str
    pixels: np.ndarray

    def read(self) -> bytes:
        return png(self.pixels)

    def name(self) -> str:
        return self.filename


class Image(Protocol):
    """One image of a data set."""

    @property
    def filename(self) -> str:
        """Tells it from all others."""

    def read(self) -> bytes:
        """The image file. Raises OSError."""

    def name(self) -> str:
        """What its record is to call it."""


class IndexedFile(NamedTuple):
    """A TFRecord file that is there already: where its records lie, and their labels, 0-based."""

    path: Path
    offsets: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    sha256: str


class FileNames:
    """A list of file names in one piece of memory: 14 million of them as objects would take gigabytes."""

    def __init__(self, names: Iterable[str] = ()):
        self._bytes, self._ends = bytearray(), array("Q", [0])
        self.extend(names)

    def extend(self, names: Iterable[str]) -> None:
        for name in names:
            self._bytes += os.fsencode(name)
            self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, i: int) -> str:
        return os.fsdecode(bytes(self._bytes[self._ends[i] : self._ends[i + 1]]))


@dataclass(frozen=True)
class Split:
    """Labelled images: `labels` is int32 [n], 0-based; `image(i)` tells where the i-th one's bytes are."""

    labels: np.ndarray
    image: Callable[[int], Image]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> Split:
        """The split of just these images, in this order."""
        return Split(self.labels[indices], lambda i: self.image(int(indices[i])))


@dataclass(frozen=True)
class Dataset:
    classes: Sequence[tuple[str, str]]  # identifier and name of each, in the order of the labels
    train: Split
    validation: Split
    files: dict[str, list[IndexedFile]] = field(default_factory=dict)  # of sources that are records already, by split


class Source(Protocol):
    """Where a data set comes from. Making one is cheap and raises MissingData where there is nothing."""

    def fingerprint(self) -> str | None:
        """Changes when the images do, wherever they lie; None while that cannot be told."""

    def load(self) -> Dataset:
        """List the images. Raises UserError for a layout that cannot be right."""


def split_off_validation(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """Part a split into training and validation: `fraction` of each class, at least one image on either side."""
    random = np.random.default_rng(seed)
    held: list[np.ndarray] = []
    for label in np.unique(split.labels):
        members = np.flatnonzero(split.labels == label)
        count = min(max(round(len(members) * fraction), 1), len(members) - 1)
        held.append(random.permutation(members)[:count])
    chosen = np.zeros(len(split), bool)
    chosen[np.concatenate(held)] = True
    return split.take(np.flatnonzero(~chosen)), split.take(np.flatnonzero(chosen))
