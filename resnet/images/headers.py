"""What the header of an image file says before it is decoded: its size, and what a decoder would leave out.

A header may be cut short or wrong, so what it does not say is unknown (None, or not there); decoding decides then.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from resnet.images.jpeg import FRAMES, Malformed, segments
from resnet.images.kinds import kind_of

TEXT = 1 << 16  # bytes in which a header of text is looked for
SPACE = rb"(?:\s|#[^\n]*\n)+"
PNM_SIZE = re.compile(rb"P[1-6Ff]" + SPACE + rb"(\d+)" + SPACE + rb"(\d+)")
WIDTH, HEIGHT, PHOTOMETRIC, EXTRA_SAMPLES = 256, 257, 262, 338  # tags of TIFF
TIFF_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}


class Header(NamedTuple):
    """What a header says."""

    size: tuple[int, int] | None = None  # width and height in pixels
    frames: int = 1  # or pages; decoders give the first
    transparent: bool = False  # whether some pixels may be
    cmyk: bool = False


def read_header(encoded: bytes) -> Header:
    """Read what the header says of an image file of any kind."""
    reader = READERS.get(kind_of(encoded))
    try:
        header = reader(encoded) if reader else Header()
    except (struct.error, IndexError, Malformed):
        return Header()
    is_nonsense = header.size is not None and min(header.size) < 0
    return header._replace(size=None) if is_nonsense else header


def _jpeg(encoded: bytes) -> Header:
    frames = (struct.unpack_from(">BHHB", encoded, one.start) for one in segments(encoded) if one.marker in FRAMES)
    _, height, width, components = max(frames, key=lambda frame: frame[1] * frame[2], default=(0, 0, 0, 0))
    return Header((width, height), cmyk=components == 4)


def png_chunks(encoded: bytes) -> Iterator[tuple[bytes, int]]:
    """The name of each chunk of a PNG before its pixels, and where its content begins."""
    position = 8
    while position + 12 <= len(encoded):
        length, name = struct.unpack_from(">I4s", encoded, position)
        if name == b"IDAT":
            return
        yield name, position + 8
        position += length + 12


def _png(encoded: bytes) -> Header:
    width, height, _, color = struct.unpack_from(">IIBB", encoded, 16)
    chunks = dict(png_chunks(encoded))
    frames = int.from_bytes(encoded[chunks[b"acTL"] :][:4], "big") if b"acTL" in chunks else 1
    return Header((width, height), frames, color in (4, 6) or b"tRNS" in chunks)


def _gif(encoded: bytes) -> Header:
    width, height, packed = struct.unpack_from("<HHB", encoded, 6)
    frames, transparent = 0, False
    for block in _gif_blocks(encoded, 13 + _color_table(packed)):
        if encoded[block] == ord(","):
            frames += 1
        elif not frames and encoded[block + 1] == 0xF9:
            transparent = bool(encoded[block + 3] & 1)
    return Header((width, height), frames, transparent)


def _gif_blocks(encoded: bytes, position: int) -> Iterator[int]:
    """Where each frame (",") and extension ("!") begins that is there as a whole."""
    try:
        while encoded[position] in b"!,":
            block = position
            position += 11 + _color_table(encoded[block + 9]) if encoded[block] == ord(",") else 2
            while length := encoded[position]:
                position += 1 + length
            position += 1
            yield block
    except IndexError:
        return


def _color_table(packed: int) -> int:
    return 3 << (packed & 7) + 1 if packed & 0x80 else 0


def _bmp(encoded: bytes) -> Header:
    (length,) = struct.unpack_from("<I", encoded, 14)
    width, height = struct.unpack_from("<HH" if length == 12 else "<ii", encoded, 18)
    return Header((width, abs(height)))


def _webp(encoded: bytes) -> Header:
    if encoded[12:16] == b"VP8X":
        width, height = (1 + int.from_bytes(encoded[i : i + 3], "little") for i in (24, 27))
        return Header((width, height), _animation_frames(encoded), bool(encoded[20] & 0x10))
    if encoded[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", encoded, 21)
        return Header((1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)), transparent=bool(bits >> 28 & 1))
    width, height = struct.unpack_from("<HH", encoded, 26)
    return Header((width & 0x3FFF, height & 0x3FFF))


def _animation_frames(encoded: bytes) -> int:
    position, frames = 12, 0
    while position + 8 <= len(encoded):
        name, length = struct.unpack_from("<4sI", encoded, position)
        frames += name == b"ANMF"
        position += 8 + length + length % 2
    return max(frames, 1)


def _tiff(encoded: bytes) -> Header:
    order = "<" if encoded[:2] == b"II" else ">"
    big = ord("+") in encoded[2:4]  # BigTIFF, with offsets of 64 bits
    pointer, number, length = ("Q", "Q", 20) if big else ("I", "H", 12)
    (start,) = struct.unpack_from(order + pointer, encoded, 8 if big else 4)
    (count,) = struct.unpack_from(order + number, encoded[start:])
    first = start + struct.calcsize(number)
    tags: dict[int, int] = {}
    for position in range(first, min(first + count * length, len(encoded) - length + 1), length):
        tag, kind = struct.unpack_from(order + "HH", encoded, position)
        if kind in TIFF_TYPES:
            (value,) = struct.unpack_from(order + TIFF_TYPES[kind], encoded, position + (12 if big else 8))
            tags.setdefault(tag, value)
    size = (tags[WIDTH], tags[HEIGHT]) if {WIDTH, HEIGHT} <= set(tags) else None
    following = encoded[first + count * length :][: struct.calcsize(pointer)]
    return Header(size, 2 if any(following) else 1, tags.get(EXTRA_SAMPLES) in (1, 2), tags.get(PHOTOMETRIC) == 5)


def _jpeg2000(encoded: bytes) -> Header:
    codestream = encoded.find(b"\xff\x4f\xff\x51")
    right, bottom, left, top = struct.unpack_from(">IIII", encoded, codestream + 8)
    return Header((right - left, bottom - top) if codestream >= 0 else None)


def _avif(encoded: bytes) -> Header:
    start = encoded.find(b"meta")
    meta = encoded[start : start - 4 + int.from_bytes(encoded[start - 4 : start], "big")]
    sizes = [struct.unpack_from(">II", meta, found.end() + 4) for found in re.finditer(b"ispe", meta)]
    largest = max(sizes, key=lambda size: size[0] * size[1], default=None)
    return Header(largest, 2 if encoded[8:12] == b"avis" else 1)


def _pnm(encoded: bytes) -> Header:
    text = encoded[:TEXT]
    if encoded[:2] == b"P7":
        found = [re.search(name + rb"\s+(\d+)", text) for name in (b"WIDTH", b"HEIGHT")]
        return Header((int(found[0][1]), int(found[1][1])) if found[0] and found[1] else None)
    size = PNM_SIZE.match(text)
    return Header((int(size[1]), int(size[2])) if size else None)


def _hdr(encoded: bytes) -> Header:
    size = re.search(rb"\n[-+]Y +(\d+) +[-+]X +(\d+)\n", encoded[:TEXT])
    return Header((int(size[2]), int(size[1])) if size else None)


def _sun_raster(encoded: bytes) -> Header:
    return Header(struct.unpack_from(">II", encoded, 4))


READERS: dict[str, Callable[[bytes], Header]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "GIF": _gif,
    "BMP": _bmp,
    "WebP": _webp,
    "TIFF": _tiff,
    "JPEG 2000": _jpeg2000,
    "AVIF": _avif,
    "PNM": _pnm,
    "HDR": _hdr,
    "Sun raster": _sun_raster,
}
