"""Images that have no record, as evaluation shows them: files and pixels, read and decoded in threads.

The contract of `look_at`:

- Every source gives exactly one `Seen`, in the order of the sources: its pixels, or the reason why there are none.
- At most AHEAD sources are taken before the first of them is used, so memory does not grow with their number. Sources
  are taken in the caller's thread.
- Threads are enough, because the decoders release Python's lock. A decoder that a hostile file crashes takes the
  process with it. Conversion decodes in processes of their own, since hours of work depend on it; here every answer
  before the crash has been given. What a file can ask for is bounded before it is decoded: its bytes and its pixels.
- When the caller stops early, nothing waits for the threads: each ends with the image that it is at.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import numpy as np

from resnet.datasets.source import open_regular
from resnet.images.decoding import Unreadable
from resnet.images.regions import WholeImage
from resnet.images.stored import decode_as_stored
from resnet.loader.transforms import CenterCrop
from resnet.loader.views import scaled_size
from resnet.settings import Recipe

AHEAD = 128  # sources: a batch for the network, and one to decode meanwhile
BYTES_PER_PIXEL = 16  # of the largest files without compression: four channels of 32 bits


class Seen(NamedTuple):
    """What came of a source."""

    file: str | None  # None: pixels from memory
    pixels: np.ndarray | None  # as the network sees them, uint8 RGB [size, size, 3]; None: `error` says why
    error: str = ""
    warning: str = ""  # what is not in order with a file that was decoded


class Source(Protocol):
    """An image that has not been read yet."""

    @property
    def file(self) -> str | None:
        """The name to answer with."""

    def decode(self, max_megapixels: float) -> tuple[np.ndarray, str]:
        """The whole image, uint8 RGB [height, width, 3], and a warning. Raises Unreadable, OSError, MemoryError."""


@dataclass(frozen=True)
class ImageFile:
    """A file of any format that conversion takes, with the pixels that its record would show."""

    file: str

    def decode(self, max_megapixels: float) -> tuple[np.ndarray, str]:
        if not self.file:
            raise Unreadable("its name is empty")
        try:
            opened = open_regular(Path(self.file))
        except ValueError as error:  # a NUL in the name, or what no file system can encode
            raise Unreadable(f"no file can have this name: {error}") from None
        with opened:
            _check_length(os.fstat(opened.fileno()).st_size, max_megapixels)
            return _decoded(opened.read(), max_megapixels)


@dataclass(frozen=True)
class ImageStream:
    """An image that comes through a pipe, of which `head` has been read already."""

    file: str
    head: bytes
    stream: BinaryIO

    def decode(self, max_megapixels: float) -> tuple[np.ndarray, str]:
        encoded = self.head + self.stream.read(_most_bytes(max_megapixels) + 1)
        _check_length(len(encoded), max_megapixels)
        return _decoded(encoded, max_megapixels)


@dataclass(frozen=True)
class Pixels:
    """Pixels from memory: uint8 RGB [height, width, 3], or grey [height, width]. Raises ValueError for any other."""

    array: np.ndarray
    file: None = None

    def __post_init__(self) -> None:
        shape = self.array.shape
        is_image = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
        if self.array.dtype != np.uint8 or not is_image or 0 in shape:
            raise ValueError(
                "an image must be uint8 RGB [height, width, 3], or grey [height, width], with values from 0 to 255; "
                f"this one is {self.array.dtype} {list(shape)}{_hint(self.array)}"
            )

    def decode(self, max_megapixels: float) -> tuple[np.ndarray, str]:
        return self.array if self.array.ndim == 3 else np.repeat(self.array[:, :, None], 3, 2), ""


@dataclass(frozen=True)
class Missing:
    """What was asked for and cannot even be listed, and why."""

    file: str
    error: str

    def decode(self, max_megapixels: float) -> tuple[np.ndarray, str]:
        raise Unreadable(self.error)


@dataclass(frozen=True)
class View:
    """How an image is looked at: evaluation's crop, its size in pixels, and the largest image that is decoded."""

    crop: CenterCrop
    size: int
    max_megapixels: float

    @classmethod
    def of(cls, recipe: Recipe) -> View:
        return cls(CenterCrop.of(recipe.evaluation), recipe.evaluation_size, recipe.records.max_megapixels)

    def __call__(self, source: Source) -> Seen:
        """Read and decode a source, and cut out what the network sees."""
        shown = np.empty((self.size, self.size, 3), np.uint8)
        try:
            pixels, warning = source.decode(self.max_megapixels)
            image = WholeImage(pixels)
            self._check_shape(image)
            self.crop(image, (), shown)
        except Unreadable as error:
            return Seen(source.file, None, str(error))
        except OSError as error:
            return Seen(source.file, None, error.strerror or str(error))
        except MemoryError:
            return Seen(source.file, None, "there is not enough memory to decode it")
        return Seen(source.file, shown, warning=warning)

    def _check_shape(self, image: WholeImage) -> None:
        """Pillow scales the whole image, so a line of a million pixels would become 256 million wide."""
        if self.crop.interpolation == "opencv-linear":
            return
        width, height = scaled_size(image.width, image.height, self.crop.shorter_side)
        if width * height > self.max_megapixels * 1e6:
            raise Unreadable(
                f"it has {image.width:,} x {image.height:,} pixels, and scaled for evaluation {width:,} x {height:,}: "
                f"more than records.max_megapixels = {self.max_megapixels:g} allows"
            )


def look_at(sources: Iterable[Source], view: View, workers: int) -> Iterator[Seen]:
    """What the network sees of each source, in their order. `workers` threads decode."""
    waiting: deque[Future[Seen]] = deque()
    threads = ThreadPoolExecutor(workers, "decoding")
    try:
        for source in sources:
            waiting.append(threads.submit(view, source))
            if len(waiting) == AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def _decoded(encoded: bytes, max_megapixels: float) -> tuple[np.ndarray, str]:
    decoded = decode_as_stored(encoded, max_megapixels)
    return decoded.pixels, decoded.warning and f"decoded with repairs ({decoded.warning})"


def _most_bytes(max_megapixels: float) -> int:
    return int(max_megapixels * 1e6) * BYTES_PER_PIXEL


def _check_length(length: int, max_megapixels: float) -> None:
    if length > _most_bytes(max_megapixels):
        raise Unreadable(
            f"it has {length / 1e6:,.0f} MB, more than an image of records.max_megapixels = {max_megapixels:g} can need"
        )


def _hint(array: np.ndarray) -> str:
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[2] != 3:
        return ". Move the channels to the end: image.transpose(1, 2, 0)"
    if array.ndim == 4:
        return ". Give a list of images"
    return ""
