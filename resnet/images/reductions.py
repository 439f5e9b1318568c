"""What an image file has that its record does not: more than 8 bits, transparency, more frames, inks.

Records hold RGB of 8 bits, because networks are trained on that. What was reduced to it is said and counted.
"""

from __future__ import annotations

import numpy as np

from resnet.images.decoding import Unreadable, decode_as_it_is
from resnet.images.headers import Header

FEW_LEVELS = 64  # of 256: 12-bit data in a file of 16 bits have 16 left, 14-bit data 64
FIRST_FRAME = "only the first of several frames or pages"
TRANSPARENCY = "transparency dropped"
CMYK = "CMYK to RGB"
UNKNOWN = "unknown, because OpenCV reads the file only as RGB of 8 bits"


def reductions(encoded: bytes, header: Header, pixels: np.ndarray) -> tuple[str, ...]:
    """How `pixels` (RGB, uint8) are less than the file has; nothing where they are its exact pixels."""
    try:
        original = decode_as_it_is(encoded)
    except Unreadable:  # decoded to RGB it was readable
        return (UNKNOWN,)
    color, alpha = (original[:, :, :3], original[:, :, 3:]) if original.shape[2:] == (4,) else (original, None)
    found = []
    if color.dtype != np.uint8:
        found.append(_fewer_bits(color.dtype, pixels))
    if header.cmyk:
        found.append(CMYK)
    if header.transparent if alpha is None else _is_transparent(alpha):
        found.append(TRANSPARENCY)
    if header.frames > 1:
        found.append(FIRST_FRAME)
    if not found and not _same(color, pixels):
        found.append("colours converted")
    return tuple(found)


def _fewer_bits(dtype: np.dtype, pixels: np.ndarray) -> str:
    bits = "floating point" if dtype.kind == "f" else f"{8 * dtype.itemsize} bits"
    levels = 1 << int(pixels.max()).bit_length()
    few = f": at most {levels} of 256 levels remain" if levels <= FEW_LEVELS else ""
    return f"{bits} to 8{few}"


def _is_transparent(alpha: np.ndarray) -> bool:
    opaque = 1.0 if alpha.dtype.kind == "f" else np.iinfo(alpha.dtype).max
    return bool((alpha < opaque).any())


def _same(color: np.ndarray, pixels: np.ndarray) -> bool:
    as_rgb = color[:, :, ::-1] if color.ndim == 3 else np.repeat(color[:, :, None], 3, axis=2)
    return np.array_equal(as_rgb, pixels)
