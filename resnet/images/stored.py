"""What an image file becomes in a record: a JPEG or PNG file that every decoder reads alike.

A JPEG of one or three components gets restart markers (see `resnet.images.restarts`), its pixels unchanged, so
that its regions can be decoded alone; one that is not fit for that stays as it is, byte for byte, and so does a PNG of
8-bit grey or RGB. Everything else that OpenCV can read (CMYK JPEG, WebP, BMP, TIFF, GIF, palette, 16-bit or transparent
PNG) becomes a PNG of just the pixels that OpenCV sees, so nothing is lost. What a file is, is told by its content,
never by its name: ImageNet has a PNG named .JPEG.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from resnet.images.decoding import MOST_PIXELS, Unreadable, decode, decode_strictly, png
from resnet.images.jpeg import EOI, FRAMES, SOS, Malformed, segments

JPEG = b"\xff\xd8\xff"


class Stored(NamedTuple):
    encoded: bytes
    format: str
    height: int
    width: int
    converted_from: str = ""  # what the file was, where it is stored in another format
    left_whole: str = ""  # why a JPEG has no restart markers put in


def to_stored(encoded: bytes) -> Stored:
    """The file as it goes into a record. It is decoded in any case, to prove it readable. Raises Unreadable."""
    components = _jpeg_components(encoded) if encoded[:3] == JPEG else 0
    pixels = _decode_jpeg(encoded) if components in (1, 3) else decode(encoded)
    height, width = pixels.shape[:2]
    if components in (1, 3):
        indexed, why_not = _indexed(encoded, pixels)
        return Stored(indexed, "JPEG", height, width, left_whole=why_not)
    kind = _kind(encoded, components)
    if kind == "PNG":
        return Stored(encoded, "PNG", height, width)
    return Stored(png(pixels), "PNG", height, width, converted_from=kind)


def _decode_jpeg(encoded: bytes) -> np.ndarray:
    """Strictly, or as OpenCV does, which makes up for some damage, and says so on standard error."""
    try:
        return decode_strictly(encoded)
    except Unreadable:
        return decode(encoded)


def _indexed(encoded: bytes, pixels: np.ndarray) -> tuple[bytes, str]:
    """The JPEG with restart markers, proven to show the same pixels; or as it is, and why."""
    from resnet.images.restarts import Unusual, insert_restarts  # numba costs half a second, and PNG need none of it

    try:
        indexed = insert_restarts(encoded)
        shown = decode_strictly(indexed)  # as the loader decodes its parts
    except Unusual as reason:
        return encoded, str(reason)
    except Unreadable:
        return encoded, "unusual sampling"
    return (indexed, "") if np.array_equal(shown, pixels) else (encoded, "pixels would change")


def _kind(encoded: bytes, components: int) -> str:
    """ "PNG" for one that is stored as it is; otherwise what the file is, for the count of conversions."""
    if components:
        return f"JPEG of {components} components (CMYK)"
    if encoded[:8] == b"\x89PNG\r\n\x1a\n":
        depth, color = encoded[24], encoded[25]
        transparent = b"tRNS" in encoded[: encoded.find(b"IDAT")]
        return "PNG" if depth == 8 and color in (0, 2) and not transparent else "PNG (palette, 16-bit or transparent)"
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP":
        return "WebP"
    signatures = {b"BM": "BMP", b"GIF8": "GIF", b"II*\0": "TIFF", b"MM\0*": "TIFF"}
    return next((name for start, name in signatures.items() if encoded.startswith(start)), "another format")


def _jpeg_components(encoded: bytes) -> int:
    """Colour components by the frame header; also proves that the file is of a size that can be decoded, and goes on
    to its end marker.

    Decoders make up the rest of a JPEG that is cut short, some without a word: hence the check here.
    """
    components = 0
    try:
        for segment in segments(encoded):
            if segment.marker in FRAMES and segment.end >= segment.start + 6:
                _, height, width, components = struct.unpack_from(">BHHB", encoded, segment.start)
                if height * width > MOST_PIXELS:
                    raise Unreadable(f"it claims to be of {width:,} x {height:,} pixels")
            if segment.marker == SOS and encoded.rfind(EOI) < segment.end:
                raise Unreadable("it is cut short: the end marker is missing")
    except Malformed as error:
        raise Unreadable(str(error)) from None
    return components
