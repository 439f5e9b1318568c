"""Any rectangle of a stored image, without decoding the rest of it where its JPEG is restart-indexed.

The intervals that cover the rectangle are cut out, put behind a header of their size with the markers numbered anew,
and decoded as an image of its own:

    +---+---+---+---+---+        SOI, tables, SOF with the new height and width, DRI, SOS,
    |   |   |   |   |   |        1 RST0 2 RST1 3 RST2
    |   | 1 | 2 | 3 |   |        4 RST3 5 RST4 6
    |   | 4 | 5 | 6 |   |        EOI
    +---+---+---+---+---+

Intervals side by side are one run of bytes, so this costs a copy of them. The pixels are those of a full decode.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from resnet.images.decoding import decode, decode_strictly
from resnet.images.jpeg import EOI, RST0, SOI, Malformed
from resnet.images.restart_index import RestartIndex, read_index

# Chroma that is stored at half the resolution is interpolated between neighbours (libjpeg's "fancy upsampling"): a
# pixel of the rectangle may look at the chroma of the pixel next to it, and no further.
SPARE = 1
# ... but only in images whose chroma is wider than 2 samples; a piece at the right edge must not fall below that.
NARROW = 2
RESTARTS = np.tile(np.arange(RST0, RST0 + 8, dtype=np.uint8), 4096)  # as many as an index can hold


class Box(NamedTuple):
    """A rectangle of an image, in whole pixels."""

    x: int
    y: int
    width: int
    height: int


class WholeImage:
    """Decoded at once; a region is a slice."""

    def __init__(self, pixels: np.ndarray):
        self._pixels = pixels
        self.height, self.width = pixels.shape[:2]

    def region(self, box: Box) -> np.ndarray:
        """The rectangle, RGB uint8 [height, width, 3]."""
        return self._pixels[box.y : box.y + box.height, box.x : box.x + box.width]


class IndexedJpeg:
    """A JPEG with an index of its restart intervals; decodes what a region needs."""

    def __init__(self, encoded: bytes | memoryview, index: RestartIndex):
        self._encoded, self._index = encoded, index
        self.height, self.width = index.frame.height, index.frame.width
        self._rows, self._columns = index.lengths.shape  # in intervals
        self._unit_width, self._unit_height = index.frame.mcu[0] * index.interval, index.frame.mcu[1]
        self._narrow = NARROW * index.frame.mcu[0] // 8

    def region(self, box: Box) -> np.ndarray:
        """The rectangle, RGB uint8 [height, width, 3]. Raises Unreadable."""
        left, top, right, bottom = self._cover(box)
        height = min(box.y + box.height + SPARE, self.height) - top * self._unit_height  # no row more than is looked at
        pixels = decode_strictly(self._splice(left, top, right, bottom, height))
        x, y = box.x - left * self._unit_width, box.y - top * self._unit_height
        return pixels[y : y + box.height, x : x + box.width]

    def _cover(self, box: Box) -> tuple[int, int, int, int]:
        """The intervals to decode: first column and row, and those behind the last."""
        width, height = self._unit_width, self._unit_height
        left, top = max(box.x - SPARE, 0) // width, max(box.y - SPARE, 0) // height
        right = min(-(-(box.x + box.width + SPARE) // width), self._columns)
        bottom = min(-(-(box.y + box.height + SPARE) // height), self._rows)
        if left and self.width - left * width <= self._narrow:
            left -= 1
        return left, top, right, bottom

    def _splice(self, left: int, top: int, right: int, bottom: int, height: int) -> bytearray:
        """A JPEG of these intervals, `height` pixels high: the decoder leaves out the rest of the last row."""
        index, encoded, columns = self._index, memoryview(self._encoded), self._columns
        begins = index.starts[top * columns + left : bottom * columns : columns].tolist()
        ends = index.starts[top * columns + right : bottom * columns + 1 : columns].tolist()
        rows = [encoded[begin:end] for begin, end in zip(begins, ends, strict=True)]
        spliced = bytearray().join((SOI, encoded[index.end : index.scan], *rows))
        width = min(right * self._unit_width, self.width) - left * self._unit_width
        header = len(SOI) + index.scan - index.end
        struct.pack_into(">HH", spliced, header - (index.scan - index.frame_start) + 1, height, width)
        markers = index.lengths[top:bottom, left:right].cumsum(dtype=np.int64)  # where each interval's marker ends
        markers += header - 1
        np.frombuffer(spliced, np.uint8)[markers] = RESTARTS[: len(markers)]
        spliced[-2:] = EOI
        return spliced


StoredImage = IndexedJpeg | WholeImage


def open_image(encoded: bytes | memoryview) -> StoredImage:
    """A stored image, ready to give any region of it. Raises Unreadable."""
    try:
        return IndexedJpeg(encoded, read_index(encoded))
    except Malformed:
        return WholeImage(decode(encoded))
