"""What a policy does to an image: the operations of RandAugment and TrivialAugment, as Pillow defines them.

Each takes uint8 RGB [height, width, 3] and a strength, and returns an image of the same kind: the same array, if it
changes nothing. `fill` is the colour of what a moved image leaves bare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np

Colour = tuple[int, int, int]
Operation = Callable[[np.ndarray, float, Colour], np.ndarray]

VALUES = np.arange(256)
# As in Pillow, whose weights of 16 bits these are (ITU-R 601-2), and whose smoothing filter.
LUMA = np.array([19595, 38470, 7471]) / 65536
SMOOTHED = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
ALONE = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]])


def rotate(pixels: np.ndarray, degrees: float, fill: Colour) -> np.ndarray:
    """About the centre, counter-clockwise."""
    angle, height, width = math.radians(degrees), *pixels.shape[:2]
    cosine, sine, x, y = math.cos(angle), math.sin(angle), width / 2, height / 2
    return _moved(pixels, [[cosine, -sine, x - cosine * x + sine * y], [sine, cosine, y - sine * x - cosine * y]], fill)


def shear_x(pixels: np.ndarray, strength: float, fill: Colour) -> np.ndarray:
    """Rows move left by `strength` pixels more for each pixel that they are below the top."""
    return _moved(pixels, [[1, strength, 0], [0, 1, 0]], fill)


def shear_y(pixels: np.ndarray, strength: float, fill: Colour) -> np.ndarray:
    """Columns move up by `strength` pixels more for each pixel that they are right of the left edge."""
    return _moved(pixels, [[1, 0, 0], [strength, 1, 0]], fill)


def translate_x(pixels: np.ndarray, fraction: float, fill: Colour) -> np.ndarray:
    """To the left, by a fraction of the width."""
    return _moved(pixels, [[1, 0, fraction * pixels.shape[1]], [0, 1, 0]], fill)


def translate_y(pixels: np.ndarray, fraction: float, fill: Colour) -> np.ndarray:
    """Up, by a fraction of the height."""
    return _moved(pixels, [[1, 0, 0], [0, 1, fraction * pixels.shape[0]]], fill)


def brightness(pixels: np.ndarray, factor: float, fill: Colour) -> np.ndarray:
    """Away from black, or towards it."""
    return _looked_up(pixels, VALUES * factor)


def contrast(pixels: np.ndarray, factor: float, fill: Colour) -> np.ndarray:
    """Away from the mean grey, or towards it."""
    mean = int(np.dot(LUMA, cv2.mean(pixels)[:3]) + 0.5)
    return _looked_up(pixels, mean + factor * (VALUES - mean))


def color(pixels: np.ndarray, factor: float, fill: Colour) -> np.ndarray:
    """Away from the grey image, or towards it."""
    return cv2.transform(pixels, factor * np.eye(3) + (1 - factor) * LUMA)


def sharpness(pixels: np.ndarray, factor: float, fill: Colour) -> np.ndarray:
    """Away from the smoothed image, or towards it. The pixels at the edges stay."""
    found = cv2.filter2D(pixels, -1, factor * ALONE + (1 - factor) * SMOOTHED)
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        found[edge] = pixels[edge]
    return found


def posterize(pixels: np.ndarray, bits: float, fill: Colour) -> np.ndarray:
    """Only so many of the highest bits are kept."""
    return _looked_up(pixels, VALUES & (256 - (1 << (8 - int(bits)))))


def solarize(pixels: np.ndarray, threshold: float, fill: Colour) -> np.ndarray:
    """What is as bright as the threshold, or brighter, is inverted."""
    return _looked_up(pixels, np.where(threshold > VALUES, VALUES, 255 - VALUES))


def solarize_add(pixels: np.ndarray, added: float, fill: Colour) -> np.ndarray:
    """The darker half becomes brighter."""
    return _looked_up(pixels, np.where(VALUES < 128, VALUES + int(added), VALUES))


def invert(pixels: np.ndarray, strength: float, fill: Colour) -> np.ndarray:
    """Each value becomes 255 minus itself."""
    return cv2.bitwise_not(pixels)


def autocontrast(pixels: np.ndarray, strength: float, fill: Colour) -> np.ndarray:
    """Each channel is stretched to 0..255."""
    tables = []
    for counts in _histograms(pixels):
        (present,) = np.nonzero(counts)
        low, high = present[0], present[-1]
        tables.append((VALUES - low) * (255 / (high - low)) if high > low else VALUES)
    return _looked_up(pixels, *tables)


def equalize(pixels: np.ndarray, strength: float, fill: Colour) -> np.ndarray:
    """Each channel's values become equally frequent, as far as that goes."""
    tables = []
    for counts in _histograms(pixels):
        (present,) = np.nonzero(counts)
        step = (counts.sum() - counts[present[-1]]) // 255 if len(present) > 1 else 0
        tables.append((step // 2 + np.cumsum(counts) - counts) // step if step else VALUES)
    return _looked_up(pixels, *tables)


def identity(pixels: np.ndarray, strength: float, fill: Colour) -> np.ndarray:
    """No change."""
    return pixels


def _moved(pixels: np.ndarray, matrix: Sequence[Sequence[float]], fill: Colour) -> np.ndarray:
    """What shows at (x, y) is what was at `matrix` times (x, y, 1). Pixels are squares: the first one's centre is at
    (0.5, 0.5), where OpenCV has (0, 0)."""
    to_index = np.array(matrix, np.float64)
    to_index[:, 2] += to_index[:, :2].sum(1) / 2 - 0.5
    size = pixels.shape[1], pixels.shape[0]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(pixels, to_index, size, flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=fill)


def _looked_up(pixels: np.ndarray, *tables: np.ndarray) -> np.ndarray:
    """Each value replaced by the table's, clipped and rounded down: one table, or one for each channel."""
    table = np.clip(np.stack(tables, -1), 0, 255).astype(np.uint8)
    return cv2.LUT(pixels, table[None])


def _histograms(pixels: np.ndarray) -> list[np.ndarray]:
    """How often each channel has each value: int [256] each."""
    found = [cv2.calcHist([pixels], [channel], None, [256], [0, 256]) for channel in range(3)]
    return [counts.reshape(-1).astype(np.int64) for counts in found]
