"""Image files, decoded and written with OpenCV; whole JPEGs and pieces of them by libjpeg-turbo itself.

Orientation tags are ignored, as in the published ResNet figures (but for TIFF, which OpenCV always turns upright).
"""

from __future__ import annotations

import cv2
import numpy as np
import simplejpeg

MOST_PIXELS = 1 << 30  # OpenCV refuses more (CV_IO_MAX_IMAGE_PIXELS)
RGB = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION


class Unreadable(Exception):
    """Why an image cannot be used."""


def decode(encoded: bytes | bytearray | memoryview) -> np.ndarray:
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


def decode_strictly(encoded: bytes | bytearray) -> np.ndarray:
    """A JPEG as RGB, uint8 [height, width, 3]: as OpenCV does, a seventh sooner. Raises Unreadable for any damage, and
    for samplings that libjpeg-turbo has no name for."""
    try:
        return simplejpeg.decode_jpeg(encoded, "RGB")
    except (ValueError, MemoryError) as error:
        raise Unreadable(f"libjpeg-turbo cannot decode it: {error}") from None


def png(pixels: np.ndarray) -> bytes:
    """Pixels (uint8, [height, width] grey or [height, width, 3] RGB) as a PNG file."""
    done, encoded = cv2.imencode(".png", pixels if pixels.ndim == 2 else pixels[:, :, ::-1])
    if not done:
        raise Unreadable("its pixels cannot be written as PNG")
    return encoded.tobytes()
