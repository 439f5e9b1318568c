"""An index of a JPEG's restart intervals, stored in the file itself in a segment that other decoders ignore.

It is the first segment, so readers need not search for it:

    SOI  APP7  length  "RESTARTS"  frame  scan  interval  lengths ...  then the JPEG's own segments

`frame` and `scan` (4 bytes each) are the offsets of the frame header's content and of the entropy-coded bits.
`interval` (2 bytes) is the MCUs from one restart to the next; it divides the MCUs of a row. `lengths` (2 bytes each)
are the bytes of the intervals, each with the marker that ends it. Numbers are big-endian as everywhere in JPEG, except
`lengths`: those are little-endian, so that numpy can use them in place.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from resnet.images.jpeg import RST0, SOI, Frame, Malformed, read_frame

APP7 = 0xE7
HEAD = struct.Struct(">2sBBH8sIIH")  # from the file's beginning
NAME = b"RESTARTS"
LENGTH_TYPE = np.dtype("<u2")
MAX_INTERVALS = 32_000  # a segment has room for a few hundred more
LONGEST = 65_535  # bytes of an interval
# The last byte of each restart marker, which count from 0 to 7 and start again: as many as an image has intervals.
RESTART_MARKERS = np.resize(np.arange(RST0, RST0 + 8, dtype=np.uint8), MAX_INTERVALS)


class RestartIndex(NamedTuple):
    """The index of a JPEG, and offsets (bytes from the file's beginning) that follow from it."""

    frame: Frame
    frame_start: int  # offset of the frame header's content
    end: int  # offset of the JPEG's own segments, which follow the index
    scan: int  # offset of the entropy-coded bits
    interval: int  # MCUs
    lengths: np.ndarray  # uint16 [rows of MCUs, intervals in a row], bytes
    starts: np.ndarray  # int64 [intervals + 1], offset of each interval, and the file's size


def with_index(header: bytes, frame_start: int, interval: int, bits: bytes, lengths: np.ndarray) -> bytes:
    """Put together a JPEG: the index, then `header` (without SOI), then the scan's `bits`.

    `frame_start` is the offset of the frame header's content in `header`. `lengths` (integers) are the bytes of each
    interval.
    """
    size = HEAD.size + lengths.size * LENGTH_TYPE.itemsize
    head = HEAD.pack(SOI, 0xFF, APP7, size - 4, NAME, size + frame_start, size + len(header), interval)
    return b"".join((head, lengths.astype(LENGTH_TYPE).tobytes(), header, bits))


def read_index(encoded: bytes | memoryview) -> RestartIndex:
    """Read a JPEG's index. Raises Malformed if it has none, or one that does not match the file."""
    if encoded[6:14] != NAME or encoded[2:4] != bytes((0xFF, APP7)):
        raise Malformed("it has no index of restart intervals")
    try:
        _, _, _, size, _, frame_start, scan, interval = HEAD.unpack_from(encoded)
        (frame_size,) = struct.unpack_from(">H", encoded, frame_start - 2)
        frame = read_frame(encoded[frame_start - 3], bytes(encoded[frame_start : frame_start + frame_size - 2]))
        end, (columns, rows) = 4 + size, frame.mcus
        lengths = np.frombuffer(encoded, LENGTH_TYPE, (end - HEAD.size) // LENGTH_TYPE.itemsize, HEAD.size)
        starts = np.empty(len(lengths) + 1, np.int64)
        starts[0], starts[1:] = scan, lengths
        np.add.accumulate(starts, out=starts)
        lengths = lengths.reshape(rows, columns // interval)
    except (struct.error, ValueError, ZeroDivisionError, IndexError) as error:
        raise Malformed(f"its index of restart intervals is invalid: {error}") from None
    if (
        len(starts) > MAX_INTERVALS + 1
        or columns % interval
        or starts[-1] != len(encoded)
        or not end < frame_start < scan
    ):
        raise Malformed("its index of restart intervals does not match the file")
    return RestartIndex(frame, frame_start, end, scan, interval, lengths, starts)
