"""How alike two pictures are in their details, after one is laid over the other.

The measure is the enhanced correlation coefficient (Evangelidis & Psarakis 2008) of small grey pictures: it ignores
brightness and contrast, and finds the affine map under which they correlate most. So a copy that was cropped a little
is as alike as one that was only encoded again. What is blurred is subtracted first, because garments and digits differ
in details, and have their outlines in common.
"""

from __future__ import annotations

import cv2
import numpy as np

SIDE = 64  # pixels of the small pictures
MARGIN = 4  # pixels at each edge of one of them that the other need not have
BLUR = SIDE / 16  # deviation in pixels; what is smoother than that is no detail
FLAT = 1.0  # deviation in grey levels below which there are no details to compare
MOST_WARP = 0.08  # by which the map may scale, stretch or turn: otherwise they are different pictures
STEPS, ENOUGH = 30, 1e-4  # at most, and the gain at which the search for the map ends
_CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, STEPS, ENOUGH)
_SMOOTHING = 3  # pixels, of the gradients that the search follows


def small_picture(pixels: np.ndarray) -> np.ndarray:
    """What `similarity` compares of an image, uint8 RGB [height, width, 3]: grey, uint8 [SIDE, SIDE]."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    shrinks = min(grey.shape) >= SIDE
    return cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """How alike two small pictures are, from 0 to 1. Pictures without details are alike only if they are equal."""
    if np.array_equal(one, other):
        return 1.0
    details = _details(one)[MARGIN:-MARGIN, MARGIN:-MARGIN]
    if details.std() < FLAT:
        return 0.0
    shift = np.array([[1, 0, MARGIN], [0, 1, MARGIN]], np.float32)
    try:
        found, warp = cv2.findTransformECC(  # type: ignore[call-overload]
            details, _details(other), shift, cv2.MOTION_AFFINE, _CRITERIA, None, _SMOOTHING
        )
    except cv2.error:  # the search went astray: no map makes them correlate
        return 0.0
    is_slight = np.abs(warp[:, :2] - np.eye(2)).max() <= MOST_WARP
    return float(np.clip(found, 0, 1)) if is_slight else 0.0


def _details(picture: np.ndarray) -> np.ndarray:
    pixels = picture.astype(np.float32)
    return pixels - cv2.GaussianBlur(pixels, (0, 0), BLUR)
