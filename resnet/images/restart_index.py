"""Where the restart intervals of a JPEG lie: stored in the file itself, in a segment that other decoders pass over.

It comes first, so that nothing needs to be searched for:

    SOI  APP7  length  "RESTARTS"  frame  scan  interval  lengths ...  then the JPEG's own segments

`frame` and `scan` (4 bytes each, as all of JPEG's numbers the most significant first) are where the frame header's
content and the entropy-coded bits begin, `interval` (2 bytes) is the MCUs between restarts, of which a row of MCUs
holds a whole number, and `lengths` (2 bytes each) are those of the intervals, with the marker that ends each: these
alone the least significant first, for they are used as they lie there.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from resnet.images.jpeg import SOI, Frame, Malformed, read_frame

APP7 = 0xE7
HEAD = struct.Struct(">2sBBH8sIIH")  # from the file's beginning
NAME = b"RESTARTS"
LENGTH_TYPE = np.dtype("<u2")
MOST_INTERVALS = 32_000  # of what fits into a segment
LONGEST = 65_535


class RestartIndex(NamedTuple):
    frame: Frame
    frame_start: int  # where the frame header's content lies
    end: int  # of the index: where the JPEG's own segments begin
    scan: int
    interval: int
    lengths: np.ndarray  # uint16 [rows of MCUs, intervals in a row]
    starts: np.ndarray  # int64 [intervals + 1], the last is the file's end


def with_index(header: bytes, frame_start: int, interval: int, bits: bytes, lengths: np.ndarray) -> bytes:
    """A JPEG of `header` (without SOI) and `bits`, the index before them. `frame_start` is counted in `header`."""
    size = HEAD.size + lengths.size * LENGTH_TYPE.itemsize
    head = HEAD.pack(SOI, 0xFF, APP7, size - 4, NAME, size + frame_start, size + len(header), interval)
    return b"".join((head, lengths.astype(LENGTH_TYPE).tobytes(), header, bits))


def read_index(encoded: bytes | memoryview) -> RestartIndex:
    """The index of a file that has one, checked against the file's size. Raises Malformed."""
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
        raise Malformed(f"its index of restart intervals is damaged: {error}") from None
    if columns % interval or starts[-1] != len(encoded) or not end < frame_start < scan:
        raise Malformed("its index of restart intervals does not match the file")
    return RestartIndex(frame, frame_start, end, scan, interval, lengths, starts)
