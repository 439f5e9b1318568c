"""What happens to a decoded image on its way into a batch: crop, resize, flip, colour.

Every random decision is a pure function of (seed, epoch, position in the epoch): one Philox key for seed and epoch,
and a fixed share of its counter for each position. So it does not matter which process draws, or when.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:  # pydantic stays out of the worker processes
    from resnet.settings import Augmentation

DRAWS = 32  # uniform numbers an image may use: a multiple of 4, Philox's block
SCALE, X, Y, FLIP, BRIGHTNESS, SATURATION, HUE, CONTRAST, AREA = 0, 1, 2, 3, 4, 5, 6, 7, 8
AREA_TRIES = 10  # pairs of draws from AREA on, as in torchvision and in Szegedy et al.'s released code

# Ranges of tensorflow/benchmarks, scripts/tf_cnn_benchmarks/preprocessing.py, for pixels in 0..255.
BRIGHTNESS_DELTA = 32.0
SATURATION_RANGE = CONTRAST_RANGE = (0.5, 1.5)
HUE_DELTA = 0.2 * math.pi

TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])  # NTSC
FROM_YIQ = np.linalg.inv(TO_YIQ)


class Box(NamedTuple):
    """A rectangle of an image, in whole pixels."""

    x: int
    y: int
    width: int
    height: int


def draws(seed: int, epoch: int, position: int, count: int) -> np.ndarray:
    """Uniform numbers in [0, 1) for `count` successive positions of an epoch: float64 [count, DRAWS]."""
    counter = [position * (DRAWS // 4), 0, 0, 0]
    philox = np.random.Philox(key=np.array([seed, epoch], np.uint64), counter=counter)
    return (philox.random_raw(count * DRAWS) >> np.uint64(11)).reshape(count, DRAWS) * 2.0**-53


def augment(
    pixels: np.ndarray, draw: np.ndarray, position: int, settings: Augmentation, size: int, out: np.ndarray
) -> None:
    """One training image: `pixels` uint8 [height, width, 3] to `out` uint8 [size, size, 3].

    `draw` is the image's row of `draws`; even and odd positions take the colour steps in different orders.
    """
    height, width = pixels.shape[:2]
    if settings.crop == "scale":
        resize(pixels, scale_box(width, height, size, draw, settings), out)
    elif settings.crop == "area":
        resize(pixels, area_box(width, height, draw, settings), out)
    else:
        pad_and_crop(pixels, settings.padding, draw, out)
    if settings.flip and draw[FLIP] < 0.5:
        cv2.flip(out, 1, dst=out)
    if settings.color:
        cv2.transform(out.copy(), color_matrix(cv2.mean(out)[:3], draw, position), dst=out)


def resize(pixels: np.ndarray, box: Box, out: np.ndarray) -> None:
    """Scale a rectangle of an image to the size of `out`; training and evaluation share this very function.

    Down to half size, linear interpolation looks at every pixel of the source, as in Caffe, whose input the published
    networks were trained on; below that it would skip pixels, and the average over areas is taken instead.
    """
    size = out.shape[0]
    interpolation = cv2.INTER_AREA if min(box.width, box.height) > 2 * size else cv2.INTER_LINEAR
    crop = pixels[box.y : box.y + box.height, box.x : box.x + box.width]
    cv2.resize(crop, (size, size), dst=out, interpolation=interpolation)


def scale_box(width: int, height: int, size: int, draw: np.ndarray, settings: Augmentation) -> Box:
    """The paper's crop, seen from the original: scale the shorter side to a random length, crop at random."""
    shorter = settings.scale_min + int(draw[SCALE] * (settings.scale_max - settings.scale_min + 1))
    side = max(round(size * min(width, height) / shorter), 1)
    return Box(int(draw[X] * (width - side + 1)), int(draw[Y] * (height - side + 1)), side, side)


def area_box(width: int, height: int, draw: np.ndarray, settings: Augmentation) -> Box:
    """A crop of random area and aspect ratio; the whole image's centre, bounded in aspect, where none would fit."""
    spread = math.log(settings.aspect_max)
    for area, aspect in draw[AREA : AREA + 2 * AREA_TRIES].reshape(AREA_TRIES, 2):
        target = (settings.area_min + area * (1 - settings.area_min)) * width * height
        ratio = math.exp((2 * aspect - 1) * spread)
        w, h = max(round(math.sqrt(target * ratio)), 1), max(round(math.sqrt(target / ratio)), 1)
        if w <= width and h <= height:
            return Box(int(draw[X] * (width - w + 1)), int(draw[Y] * (height - h + 1)), w, h)
    w = min(width, max(round(height * settings.aspect_max), 1))
    h = min(height, max(round(width * settings.aspect_max), 1))
    return Box((width - w) // 2, (height - h) // 2, w, h)


def center_box(width: int, height: int, size: int, shorter_side: int) -> Box:
    """Evaluation's crop, seen from the original: shorter side scaled to `shorter_side`, centre of `size` pixels."""
    side = max(round(size * min(width, height) / shorter_side), 1)
    return Box((width - side) // 2, (height - side) // 2, side, side)


def pad_and_crop(pixels: np.ndarray, padding: int, draw: np.ndarray, out: np.ndarray) -> None:
    """The image at the size of `out`, moved by up to `padding` pixels each way, zeros behind it."""
    size = out.shape[0]
    height, width = pixels.shape[:2]
    if (height, width) != (size, size):
        whole = np.empty_like(out)
        resize(pixels, center_box(width, height, size, size), whole)
        pixels = whole
    dx = int(draw[X] * (2 * padding + 1)) - padding
    dy = int(draw[Y] * (2 * padding + 1)) - padding
    out[:] = 0
    out[max(dy, 0) : size + min(dy, 0), max(dx, 0) : size + min(dx, 0)] = pixels[
        max(-dy, 0) : size - max(dy, 0), max(-dx, 0) : size - max(dx, 0)
    ]


def color_matrix(mean: tuple[float, ...], draw: np.ndarray, position: int) -> np.ndarray:
    """Brightness, saturation, hue and contrast as one affine map of RGB: float32 [3, 4].

    `mean` is the image's mean colour: contrast stretches about it, and it goes along with the steps before. Even
    positions take brightness, saturation, hue, contrast; odd ones brightness, contrast, saturation, hue. Saturation
    and hue scale and turn the colour plane of YIQ. Nothing is clipped between the steps (all of this as in
    tf_cnn_benchmarks): the one rounding and clipping to 0..255 is cv2.transform's, at the end.
    """
    matrix, offset = np.eye(3), np.full(3, _between(draw[BRIGHTNESS], -BRIGHTNESS_DELTA, BRIGHTNESS_DELTA))
    angle = _between(draw[HUE], -HUE_DELTA, HUE_DELTA)
    saturation = _between(draw[SATURATION], *SATURATION_RANGE)
    cos, sin = saturation * math.cos(angle), saturation * math.sin(angle)
    hue_and_saturation = FROM_YIQ @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ TO_YIQ
    contrast = _between(draw[CONTRAST], *CONTRAST_RANGE)
    for step in ("color", "contrast") if position % 2 == 0 else ("contrast", "color"):
        if step == "color":
            matrix, offset = hue_and_saturation @ matrix, hue_and_saturation @ offset
        else:
            center = matrix @ np.array(mean) + offset
            matrix, offset = contrast * matrix, contrast * (offset - center) + center
    return np.column_stack((matrix, offset)).astype(np.float32)


def _between(draw: float, low: float, high: float) -> float:
    return low + float(draw) * (high - low)
