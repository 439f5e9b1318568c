"""The markers of a JPEG file, which conversion rewrites and the loader splices (ITU-T T.81, annexes B and F)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
SOF0, SOF1, DHT, RST0, SOS, DQT, DRI, APP0, APP14 = 0xC0, 0xC1, 0xC4, 0xD0, 0xDA, 0xDB, 0xDD, 0xE0, 0xEE
FRAMES = frozenset(range(0xC0, 0xD0)) - {DHT, 0xC8, 0xCC}
SEQUENTIAL = (SOF0, SOF1)  # baseline and extended (12 bits, or more tables), both Huffman-coded
WITHOUT_CONTENT = frozenset((0x00, 0x01, *range(0xD0, 0xDA)))


class Malformed(Exception):
    """A JPEG's markers are invalid; the message says how."""


class Segment(NamedTuple):
    """A marker, and start and end of its content, without the two bytes of its length."""

    marker: int
    start: int
    end: int


class Component(NamedTuple):
    """One colour component of a frame."""

    identifier: int
    horizontal: int  # sampling factors
    vertical: int
    quantization: int  # number of its quantization table


@dataclass(frozen=True)
class Frame:
    """A frame header."""

    marker: int
    precision: int  # bits per sample
    height: int
    width: int
    components: tuple[Component, ...]

    @cached_property
    def mcu(self) -> tuple[int, int]:
        """Width and height of a minimum coded unit in pixels. With one component it is a block."""
        if len(self.components) == 1:
            return 8, 8
        return (
            8 * max(component.horizontal for component in self.components),
            8 * max(component.vertical for component in self.components),
        )

    @cached_property
    def mcus(self) -> tuple[int, int]:
        """Columns and rows of MCUs."""
        width, height = self.mcu
        return -(-self.width // width), -(-self.height // height)


def segments(encoded: bytes) -> Iterator[Segment]:
    """The segments up to the first scan's header, which is the last one given. Raises Malformed."""
    if encoded[:2] != SOI:
        raise Malformed("it does not begin like a JPEG")
    position, size = 2, len(encoded)
    while position + 4 <= size:
        marker = encoded[position + 1]
        if encoded[position] != 0xFF or marker == 0xFF:  # decoders skip fill bytes, and any others between segments
            position += 1
        elif marker in WITHOUT_CONTENT:
            position += 2
        else:
            end = position + 2 + (encoded[position + 2] << 8 | encoded[position + 3])
            if end < position + 4 or end > size:
                break
            yield Segment(marker, position + 4, end)
            if marker == SOS:
                return
            position = end
    raise Malformed("it is truncated inside the header")


@lru_cache(maxsize=4096)  # a data set has many images of the same few sizes
def read_frame(marker: int, content: bytes) -> Frame:
    """Parse a frame header. Raises Malformed."""
    if len(content) < 6 or len(content) != 6 + 3 * content[5]:
        raise Malformed("its frame header has the wrong length")
    precision, height, width, count = struct.unpack_from(">BHHB", content)
    components = tuple(
        Component(content[i], content[i + 1] >> 4, content[i + 1] & 15, content[i + 2])
        for i in range(6, 6 + 3 * count, 3)
    )
    if not components or any(not 1 <= factor <= 4 for component in components for factor in component[1:3]):
        raise Malformed("its sampling factors are out of range")
    return Frame(marker, precision, height, width, components)
