"""Random brightness, saturation, hue and contrast as one affine map of RGB.

Ranges and order are those of tensorflow/benchmarks, scripts/tf_cnn_benchmarks/preprocessing.py, for pixels in 0..255.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

BRIGHTNESS, SATURATION, HUE, CONTRAST = 4, 5, 6, 7  # which number of a draw decides what
BRIGHTNESS_DELTA = 32.0
SATURATION_RANGE = CONTRAST_RANGE = (0.5, 1.5)
HUE_DELTA = 0.2 * math.pi

TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])  # NTSC
FROM_YIQ = np.linalg.inv(TO_YIQ)
# What keeps luma, stretches the colour plane and turns it, as seen from RGB: 3x3 matrices.
LUMA, CHROMA, TURN = (
    (FROM_YIQ @ change @ TO_YIQ).tolist()
    for change in (np.diag([1, 0, 0]), np.diag([0, 1, 1]), np.array([[0, 0, 0], [0, 0, -1], [0, 1, 0]]))
)


def color_map(mean: Sequence[float], draw: Sequence[float]) -> np.ndarray:
    """The map as a matrix to multiply (R, G, B, 1) with: float64 [3, 4].

    `mean` is the image's mean colour, which contrast stretches about. Saturation and hue stretch and turn the colour
    plane of YIQ. tf_cnn_benchmarks applies contrast last at even positions of a batch and second at odd ones: that is
    the same map, because stretching about the mean commutes with linear maps and nothing is clipped in between.
    cv2.transform rounds and clips to 0..255 once, at the end.
    """
    brightness = _between(draw[BRIGHTNESS], -BRIGHTNESS_DELTA, BRIGHTNESS_DELTA)
    saturation = _between(draw[SATURATION], *SATURATION_RANGE)
    angle = _between(draw[HUE], -HUE_DELTA, HUE_DELTA)
    contrast = _between(draw[CONTRAST], *CONTRAST_RANGE)
    chroma, turn = saturation * math.cos(angle), saturation * math.sin(angle)
    r, g, b = [(1 - contrast) * channel + brightness for channel in mean]
    affine = []
    for luma, i, q in zip(LUMA, CHROMA, TURN, strict=True):  # plain numbers: NumPy is slower for nine of them
        x, y, z = [one + chroma * two + turn * three for one, two, three in zip(luma, i, q, strict=True)]
        affine.append([contrast * x, contrast * y, contrast * z, x * r + y * g + z * b])
    return np.array(affine)


def _between(draw: float, low: float, high: float) -> float:
    return low + draw * (high - low)
