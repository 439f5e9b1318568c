"""Decodes and writes image files with OpenCV. JPEGs that must be intact are decoded by libjpeg-turbo directly.

Orientation tags are ignored, as for the published ResNet figures. (OpenCV always obeys those of TIFF files.)
"""

from __future__ import annotations

import cv2
import numpy as np
import simplejpeg

from resnet.images.headers import read_header

MAX_PIXELS = 1 << 30  # OpenCV's limit (CV_IO_MAX_IMAGE_PIXELS)
RGB = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
MEMORY_PER_PIXEL = 20  # bytes; the most that a decoder was seen to take (JPEG 2000) is 17


class Unreadable(Exception):
    """An image cannot be decoded; the message says why."""


def decode(encoded: bytes | bytearray | memoryview) -> np.ndarray:
    """Decode an image file of any format that OpenCV knows to RGB, uint8 [height, width, 3].

    Raises Unreadable, or MemoryError.
    """
    return _decode(encoded, RGB)


def decode_as_it_is(encoded: bytes) -> np.ndarray:
    """Decode to the channels and type that the file has, blue before red. Raises Unreadable, or MemoryError."""
    return _decode(encoded, cv2.IMREAD_UNCHANGED)


def _decode(encoded: bytes | bytearray | memoryview, flags: int) -> np.ndarray:
    if not encoded:
        raise Unreadable("the file is empty")
    try:
        pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error as error:
        raise _as_memory_error(error) or Unreadable(f"OpenCV cannot decode it: {error.err or error}") from None
    if pixels is None:
        _check_memory(bytes(encoded))
        raise Unreadable("OpenCV cannot decode it: it is not an image, or it is truncated")
    return pixels


def _as_memory_error(error: cv2.error) -> MemoryError | None:
    return MemoryError(error.err) if error.code == cv2.Error.StsNoMem else None


def _check_memory(encoded: bytes) -> None:
    """Raise MemoryError where the memory to decode a file is not there.

    OpenCV's decoders fail alike for want of memory and for a file that is corrupt.
    """
    width, height = read_header(encoded).size or (0, 0)
    np.empty(min(width * height, MAX_PIXELS) * MEMORY_PER_PIXEL, np.uint8)


def decode_strictly(encoded: bytes | bytearray, at_least: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Decode a JPEG to RGB, uint8 [height, width, 3]: the same pixels as OpenCV's, a seventh faster.

    `at_least`: height and width of what is needed; libjpeg then scales by the greatest eighth that is enough.
    Raises Unreadable for any error or warning of libjpeg-turbo, and for chroma subsampling that it has no name for;
    MemoryError.
    """
    try:
        return simplejpeg.decode_jpeg(encoded, "RGB", min_height=at_least[0], min_width=at_least[1])
    except ValueError as error:
        if "Insufficient memory" in str(error):
            raise MemoryError(str(error)) from None
        raise Unreadable(f"libjpeg-turbo cannot decode it: {error}") from None


def png(pixels: np.ndarray) -> bytes:
    """Encode pixels (uint8, [height, width] grey or [height, width, 3] RGB) as a PNG file.

    Raises Unreadable, or MemoryError.
    """
    try:
        done, encoded = cv2.imencode(".png", pixels if pixels.ndim == 2 else pixels[:, :, ::-1])
    except cv2.error as error:
        raise _as_memory_error(error) or Unreadable(f"its pixels cannot be written as PNG: {error.err}") from None
    if not done:
        raise Unreadable("its pixels cannot be written as PNG")
    return encoded.tobytes()
