"""Turns an image file into what a record stores: a JPEG or PNG that every decoder reads alike.

A JPEG of one or three components gets restart markers (see `resnet.images.restarts`), which let the loader decode any
region alone and leave the pixels unchanged. A JPEG that cannot get them stays byte for byte as it is, as does a PNG of
8-bit grey or RGB. Anything else that OpenCV can read (CMYK JPEG, WebP, BMP, TIFF, GIF, palette, 16-bit or transparent
PNG) becomes a PNG of the pixels that OpenCV decodes; see `resnet.images.reductions` for what they are less than the
file. A file's content decides what it is, not its name: ImageNet has a PNG named .JPEG.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from resnet.images.decoding import MAX_PIXELS, Unreadable, decode, decode_strictly, png
from resnet.images.headers import Header, png_chunks, read_header
from resnet.images.jpeg import EOI, FRAMES, SOS, Malformed, segments
from resnet.images.kinds import kind_of
from resnet.images.perceptual_hash import perceptual_hash
from resnet.images.reductions import FIRST_FRAME, reductions

JPEG = b"\xff\xd8\xff"
UNNAMED_SAMPLING = "determine subsampling"  # what libjpeg-turbo says of a JPEG in order, whose sampling it cannot name


class Stored(NamedTuple):
    """An image file as a record stores it."""

    encoded: bytes
    format: str  # "JPEG" or "PNG"
    height: int  # pixels
    width: int  # pixels
    converted_from: str = ""  # the kind of the original file, if it was converted to PNG
    left_whole: str = ""  # why a JPEG got no restart markers
    reduced: tuple[str, ...] = ()  # what the original file has that these pixels do not
    perceptual_hash: str = ""  # of the pixels


def to_stored(encoded: bytes, max_megapixels: float = MAX_PIXELS / 1e6) -> Stored:
    """Convert an image file to the form that records store. It is always decoded, as a check.

    Raises Unreadable, also for an image of more than `max_megapixels`, or MemoryError.
    """
    header, components, pixels, _ = decode_as_stored(encoded, max_megapixels)
    stored = _stored(encoded, header, components, pixels)
    return stored._replace(perceptual_hash=perceptual_hash(pixels))


def _stored(encoded: bytes, header: Header, components: int, pixels: np.ndarray) -> Stored:
    height, width = pixels.shape[:2]
    if components in (1, 3):
        indexed, why_not = _indexed(encoded, pixels)
        return Stored(indexed, "JPEG", height, width, left_whole=why_not)
    kind = _kind(encoded, components)
    if kind == "PNG":
        return Stored(encoded, "PNG", height, width, reduced=(FIRST_FRAME,) if header.frames > 1 else ())
    reduced = reductions(encoded, header, pixels)
    return Stored(png(pixels), "PNG", height, width, converted_from=kind, reduced=reduced)


class Decoded(NamedTuple):
    """An image file, decoded."""

    header: Header
    components: int  # of a JPEG; else 0
    pixels: np.ndarray  # RGB uint8 [height, width, 3]
    warning: str = ""  # why a JPEG is not quite in order, although it was decoded


def decode_as_stored(encoded: bytes, max_megapixels: float = MAX_PIXELS / 1e6) -> Decoded:
    """Decode an image file to the pixels that its record would show. Raises what `to_stored` raises."""
    header = read_header(encoded)
    if header.size:
        _check_size(*header.size, max_megapixels)
    components = _jpeg_components(encoded) if encoded[:3] == JPEG else 0
    pixels, warning = _decode_jpeg(encoded) if components in (1, 3) else (decode(encoded), "")
    _check_size(pixels.shape[1], pixels.shape[0], max_megapixels)  # of a file whose header does not say it
    return Decoded(header, components, pixels, warning)


def _check_size(width: int, height: int, max_megapixels: float) -> None:
    if width * height > max_megapixels * 1e6:
        raise Unreadable(
            f"it has {width:,} x {height:,} pixels, more than records.max_megapixels = {max_megapixels:g} allows"
        )


def _decode_jpeg(encoded: bytes) -> tuple[np.ndarray, str]:
    """Decode strictly, else with OpenCV, which tolerates some errors and prints a decode warning to standard error."""
    try:
        return decode_strictly(encoded), ""
    except Unreadable as error:
        return decode(encoded), "" if UNNAMED_SAMPLING in str(error) else str(error)


def _indexed(encoded: bytes, pixels: np.ndarray) -> tuple[bytes, str]:
    """The JPEG with restart markers, checked to decode to `pixels`; or the JPEG as it is, and why."""
    from resnet.images.restarts import Unusual, insert_restarts  # imports numba for half a second; PNGs do not need it

    try:
        indexed = insert_restarts(encoded)
        shown = decode_strictly(indexed)  # as the loader decodes regions
    except Unusual as reason:
        return encoded, str(reason)
    except Unreadable:
        return encoded, "unusual sampling"
    return (indexed, "") if np.array_equal(shown, pixels) else (encoded, "pixels would change")


def _kind(encoded: bytes, components: int) -> str:
    """ "PNG" for a file that is stored as it is, else a kind of file, by which conversions are counted."""
    if components:
        return f"JPEG of {components} components"
    kind = kind_of(encoded) or "another format"
    if kind != "PNG":
        return kind
    depth, color = encoded[24], encoded[25]
    if color in (4, 6) or any(name == b"tRNS" for name, _ in png_chunks(encoded)):
        return "PNG with an alpha channel"
    if color == 3:
        return "palette PNG"
    return "PNG" if depth == 8 else f"{depth}-bit PNG"


def _jpeg_components(encoded: bytes) -> int:
    """The number of colour components in the frame header, 0 if there is none.

    Raises Unreadable if the image has no end marker: decoders fill in the rest of a truncated JPEG, some without a
    warning.
    """
    components = 0
    try:
        for segment in segments(encoded):
            if segment.marker in FRAMES and segment.end >= segment.start + 6:
                components = encoded[segment.start + 5]
            if segment.marker == SOS and encoded.rfind(EOI) < segment.end:
                raise Unreadable("it is truncated: the end marker is missing")
    except Malformed as error:
        raise Unreadable(str(error)) from None
    return components
