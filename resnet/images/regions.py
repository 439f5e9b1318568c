"""Decodes any rectangle of a stored image; if that is a JPEG with a restart index, without decoding the rest.

The restart intervals that cover the rectangle are copied behind a header with the piece's size, their markers are
renumbered, and the result is decoded as a JPEG:

    +---+---+---+---+---+        SOI, tables, SOF with the new height and width, DRI, SOS,
    |   |   |   |   |   |        1 RST0 2 RST1 3 RST2
    |   | 1 | 2 | 3 |   |        4 RST3 5 RST4 6
    |   | 4 | 5 | 6 |   |        EOI
    +---+---+---+---+---+

Intervals side by side are contiguous bytes, so each row is one copy. The pixels are those of a full decode.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from resnet.images.decoding import decode, decode_strictly
from resnet.images.jpeg import EOI, SOI, Malformed
from resnet.images.restart_index import RESTART_MARKERS, RestartIndex, read_index

# libjpeg interpolates chroma of half the resolution between neighbours ("fancy upsampling"), so a pixel may depend on
# the chroma of the pixel next to it, but on none further away.
SPARE = 1
# libjpeg scales by eighths, and is asked for a size: of fewer pixels, another eighth would have as many as the half.
SMALLEST_HALF = 8
# libjpeg does not interpolate chroma that is at most 2 samples wide, so a piece at the right edge must be wider.
NARROW = 2


class Box(NamedTuple):
    """A rectangle of an image, in whole pixels."""

    x: int
    y: int
    width: int
    height: int


class WholeImage:
    """An image that is decoded at once; a region of it is a slice."""

    def __init__(self, pixels: np.ndarray):
        self._pixels = pixels
        self.height, self.width = pixels.shape[:2]

    def region(self, box: Box) -> np.ndarray:
        """The rectangle, RGB uint8 [height, width, 3]."""
        return self._pixels[box.y : box.y + box.height, box.x : box.x + box.width]

    def region_at_half(self, box: Box) -> None:
        """Nothing: it is decoded already."""


class IndexedJpeg:
    """A JPEG with an index of its restart intervals, of which only those that a region needs are decoded."""

    def __init__(self, encoded: bytes | memoryview, index: RestartIndex):
        self.index = index
        self._encoded = encoded
        self.height, self.width = index.frame.height, index.frame.width
        self._rows, self._columns = index.lengths.shape  # in intervals
        self._unit_width, self._unit_height = index.frame.mcu[0] * index.interval, index.frame.mcu[1]
        self._narrow = NARROW * index.frame.mcu[0] // 8

    def region(self, box: Box) -> np.ndarray:
        """The rectangle, RGB uint8 [height, width, 3]. Raises Unreadable."""
        left, top, right, bottom = self._cover(box)
        height = min(box.y + box.height + SPARE, self.height) - top * self._unit_height  # rows below are not needed
        pixels = decode_strictly(self._splice(left, top, right, bottom, height))
        x, y = box.x - left * self._unit_width, box.y - top * self._unit_height
        return pixels[y : y + box.height, x : x + box.width]

    def region_at_half(self, box: Box) -> np.ndarray | None:
        """The rectangle at half its height and width, as libjpeg scales: from the low frequencies of each block. Its
        edges are rounded outwards to even pixels. None where it has only a few pixels. Raises Unreadable."""
        left, top, right, bottom = self._cover(box, scale=2)
        height = min(box.y + box.height + 2 * SPARE, self.height) - top * self._unit_height
        width = min(right * self._unit_width, self.width) - left * self._unit_width
        half = -(-height // 2), -(-width // 2)
        if min(half) < SMALLEST_HALF:
            return None
        pixels = decode_strictly(self._splice(left, top, right, bottom, height), half)
        x, y = box.x - left * self._unit_width, box.y - top * self._unit_height
        return pixels[y // 2 : -(-(y + box.height) // 2), x // 2 : -(-(x + box.width) // 2)]

    def _cover(self, box: Box, scale: int = 1) -> tuple[int, int, int, int]:
        """The intervals to decode: first column and row, then the column and row after the last. `scale`: how many
        pixels of the image become one."""
        width, height, spare = self._unit_width, self._unit_height, scale * SPARE
        left, top = max(box.x - spare, 0) // width, max(box.y - spare, 0) // height
        right = min(-(-(box.x + box.width + spare) // width), self._columns)
        bottom = min(-(-(box.y + box.height + spare) // height), self._rows)
        if left and self.width - left * width <= scale * self._narrow:
            left -= 1
        return left, top, right, bottom

    def _splice(self, left: int, top: int, right: int, bottom: int, height: int) -> bytearray:
        """A JPEG of these intervals, `height` pixels high, so that the decoder ignores the rest of the last row."""
        index, encoded, columns = self.index, memoryview(self._encoded), self._columns
        begins = index.starts[top * columns + left : bottom * columns : columns].tolist()
        ends = index.starts[top * columns + right : bottom * columns + 1 : columns].tolist()
        rows = [encoded[begin:end] for begin, end in zip(begins, ends, strict=True)]
        spliced = bytearray().join((SOI, encoded[index.end : index.scan], *rows))
        width = min(right * self._unit_width, self.width) - left * self._unit_width
        header = len(SOI) + index.scan - index.end
        struct.pack_into(">HH", spliced, header - (index.scan - index.frame_start) + 1, height, width)
        markers = index.lengths[top:bottom, left:right].cumsum(
            dtype=np.int64
        )  # the last byte of each interval's marker
        markers += header - 1
        np.frombuffer(spliced, np.uint8)[markers] = RESTART_MARKERS[: len(markers)]
        spliced[-2:] = EOI
        return spliced


StoredImage = IndexedJpeg | WholeImage


def open_image(encoded: bytes | memoryview) -> StoredImage:
    """Open a stored image, to decode any region of it. Raises Unreadable."""
    try:
        return IndexedJpeg(encoded, read_index(encoded))
    except Malformed:
        return WholeImage(decode(encoded))
