"""The markers of a JPEG file: what conversion rewrites and the loader splices (ITU-T T.81, annexes B and F)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
SOF0, SOF1, DHT, RST0, SOS, DQT, DRI, APP0, APP14 = 0xC0, 0xC1, 0xC4, 0xD0, 0xDA, 0xDB, 0xDD, 0xE0, 0xEE
FRAMES = frozenset(range(0xC0, 0xD0)) - {DHT, 0xC8, 0xCC}
SEQUENTIAL = (SOF0, SOF1)  # baseline, and extended by 12 bits or more tables; both Huffman-coded
WITHOUT_CONTENT = frozenset((0x00, 0x01, *range(0xD0, 0xDA)))


class Malformed(Exception):
    """What is wrong with a JPEG's markers."""


class Segment(NamedTuple):
    """A marker and where its content lies, without the two bytes of its length."""

    marker: int
    start: int
    end: int


class Component(NamedTuple):
    identifier: int
    horizontal: int  # sampling factors
    vertical: int
    quantization: int  # number of the table


@dataclass(frozen=True)
class Frame:
    """What a frame header says."""

    marker: int
    precision: int  # bits a sample
    height: int
    width: int
    components: tuple[Component, ...]

    @cached_property
    def mcu(self) -> tuple[int, int]:
        """Width and height in pixels of what a scan codes at a time: a block where there is but one component."""
        if len(self.components) == 1:
            return 8, 8
        return (
            8 * max(component.horizontal for component in self.components),
            8 * max(component.vertical for component in self.components),
        )

    @cached_property
    def mcus(self) -> tuple[int, int]:
        """MCUs in a row of MCUs, and rows of them."""
        width, height = self.mcu
        return -(-self.width // width), -(-self.height // height)


def segments(encoded: bytes) -> Iterator[Segment]:
    """The segments up to the first scan's header, which is the last. Raises Malformed."""
    if encoded[:2] != SOI:
        raise Malformed("it does not begin as a JPEG")
    position, size = 2, len(encoded)
    while position + 4 <= size:
        marker = encoded[position + 1]
        if encoded[position] != 0xFF or marker == 0xFF:  # decoders skip what lies between segments, and fill bytes
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
    raise Malformed("it is cut short inside the header")


@lru_cache(maxsize=4096)  # a data set has many images of the same few sizes
def read_frame(marker: int, content: bytes) -> Frame:
    """A frame header's content. Raises Malformed."""
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
