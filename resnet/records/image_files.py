"""What an image file becomes in a record: a JPEG or PNG file that every decoder reads alike.

A JPEG of one or three components stays as it is, byte for byte, and so does a PNG of 8-bit grey or RGB. Everything
else that OpenCV can read (CMYK JPEG, WebP, BMP, TIFF, GIF, palette, 16-bit or transparent PNG) becomes a PNG of just
the pixels that OpenCV sees, so nothing is lost. What a file is, is told by its content, never by its name: ImageNet
has a PNG named .JPEG. Orientation tags are ignored, as in the published ResNet figures (but for TIFF, which OpenCV
always turns upright).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import cv2
import numpy as np

RGB = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION


class Unreadable(Exception):
    """Why an image cannot be used."""


class Stored(NamedTuple):
    encoded: bytes
    format: str
    height: int
    width: int
    converted_from: str  # empty where the bytes are the original's


def decode(encoded: bytes) -> np.ndarray:
    """The image as RGB, uint8 [height, width, 3]. Raises Unreadable."""
    if not encoded:
        raise Unreadable("the file is empty")
    try:
        pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), RGB)
    except cv2.error as error:
        raise Unreadable(f"OpenCV cannot decode it: {error.err or error}") from None
    if pixels is None:
        raise Unreadable("it is no image that OpenCV can decode, or it is cut short")
    return pixels


def to_stored(encoded: bytes) -> Stored:
    """The file as it goes into a record. It is decoded once, in any case, to prove it readable. Raises Unreadable."""
    pixels = decode(encoded)
    height, width = pixels.shape[:2]
    kind = _kind(encoded)
    if kind == "JPEG":
        return Stored(encoded, "JPEG", height, width, "")
    if kind == "PNG":
        return Stored(encoded, "PNG", height, width, "")
    return Stored(png(pixels), "PNG", height, width, kind)


def png(pixels: np.ndarray) -> bytes:
    """Pixels (uint8, [height, width] grey or [height, width, 3] RGB) as a PNG file."""
    done, encoded = cv2.imencode(".png", pixels if pixels.ndim == 2 else pixels[:, :, ::-1])
    if not done:
        raise Unreadable("its pixels cannot be written as PNG")
    return encoded.tobytes()


def _kind(encoded: bytes) -> str:
    """ "JPEG" or "PNG" for what is stored as it is; otherwise what the file is, for the count of conversions."""
    if encoded[:3] == b"\xff\xd8\xff":
        components = _jpeg_components(encoded)
        return "JPEG" if components in (1, 3) else f"JPEG of {components} components (CMYK)"
    if encoded[:8] == b"\x89PNG\r\n\x1a\n":
        depth, color = encoded[24], encoded[25]
        transparent = b"tRNS" in encoded[: encoded.find(b"IDAT")]
        return "PNG" if depth == 8 and color in (0, 2) and not transparent else "PNG (palette, 16-bit or transparent)"
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP":
        return "WebP"
    signatures = {b"BM": "BMP", b"GIF8": "GIF", b"II*\0": "TIFF", b"MM\0*": "TIFF"}
    return next((name for start, name in signatures.items() if encoded.startswith(start)), "another format")


def _jpeg_components(encoded: bytes) -> int:
    """Colour components by the frame header; also proves that the file goes on to its end marker.

    Decoders make up the rest of a JPEG that is cut short, some without a word: hence the check here.
    """
    position, components = 2, 0
    while True:
        position = encoded.find(b"\xff", position)
        if position < 0 or position + 4 > len(encoded):
            raise Unreadable("it is cut short inside the header")
        marker = encoded[position + 1]
        if marker in (0xFF, 0x00, 0x01) or 0xD0 <= marker <= 0xD8:  # fill bytes, and markers without content
            position += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", encoded, position + 2)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and position + 10 <= len(encoded):
            components = encoded[position + 9]
        position += 2 + length
        if marker == 0xDA:
            break
    if encoded.rfind(b"\xff\xd9") < position:
        raise Unreadable("it is cut short: the end marker is missing")
    return components
