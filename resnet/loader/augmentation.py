"""What happens to an image on its way into a batch: crop, resize, flip, colour.

Every random decision is a pure function of (seed, epoch, position in the epoch): one Philox key for seed and epoch,
and a fixed share of its counter for each position. So it does not matter which process draws, or when.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from resnet.records.regions import Box, IndexedJpeg, WholeImage

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
# What keeps luma, stretches the colour plane, and turns it, as seen from RGB: matrices of 3x3.
LUMA, CHROMA, TURN = (
    (FROM_YIQ @ change @ TO_YIQ).tolist()
    for change in (np.diag([1, 0, 0]), np.diag([0, 1, 1]), np.array([[0, 0, 0], [0, 0, -1], [0, 1, 0]]))
)


def draws(seed: int, epoch: int, position: int, count: int) -> np.ndarray:
    """Uniform numbers in [0, 1) for `count` successive positions of an epoch: float64 [count, DRAWS]."""
    counter = [position * (DRAWS // 4), 0, 0, 0]
    philox = np.random.Philox(key=np.array([seed, epoch], np.uint64), counter=counter)
    return (philox.random_raw(count * DRAWS) >> np.uint64(11)).reshape(count, DRAWS) * 2.0**-53


def augment(image: IndexedJpeg | WholeImage, draw: Sequence[float], settings: Augmentation, out: np.ndarray) -> None:
    """One training image to `out`, uint8 [size, size, 3]. `draw` is the image's row of `draws`."""
    flip = settings.flip and draw[FLIP] < 0.5
    plain = np.empty_like(out) if settings.color else out
    if settings.crop == "pad":
        pad_and_crop(image, settings.padding, draw, plain)
    else:
        resize(image, crop_box(image.width, image.height, out.shape[0], draw, settings), plain)
    if flip:
        cv2.flip(plain, 1, dst=plain)
    if settings.color:
        cv2.transform(plain, color_map(cv2.mean(plain)[:3], draw), dst=out)


def resize(image: IndexedJpeg | WholeImage, box: Box, out: np.ndarray) -> None:
    """Scale a rectangle of an image to the size of `out`; training and evaluation share this very function.

    Down to half size, linear interpolation looks at every pixel of the source, as in Caffe, whose input the published
    networks were trained on; below that it would skip pixels, and the average over areas is taken instead.
    """
    size = out.shape[0]
    interpolation = cv2.INTER_AREA if min(box.width, box.height) > 2 * size else cv2.INTER_LINEAR
    cv2.resize(image.region(box), (size, size), dst=out, interpolation=interpolation)


def crop_box(width: int, height: int, size: int, draw: Sequence[float], settings: Augmentation) -> Box:
    """The random crop that the settings ask for."""
    if settings.crop == "scale":
        return scale_box(width, height, size, draw, settings)
    return area_box(width, height, draw, settings)


def scale_box(width: int, height: int, size: int, draw: Sequence[float], settings: Augmentation) -> Box:
    """The paper's crop, seen from the original: scale the shorter side to a random length, crop at random."""
    shorter = settings.scale_min + int(draw[SCALE] * (settings.scale_max - settings.scale_min + 1))
    side = max(round(size * min(width, height) / shorter), 1)
    return Box(int(draw[X] * (width - side + 1)), int(draw[Y] * (height - side + 1)), side, side)


def area_box(width: int, height: int, draw: Sequence[float], settings: Augmentation) -> Box:
    """A crop of random area and aspect ratio; the whole image's centre, bounded in aspect, where none would fit."""
    spread = math.log(settings.aspect_max)
    for i in range(AREA, AREA + 2 * AREA_TRIES, 2):
        area, aspect = draw[i], draw[i + 1]
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


def pad_and_crop(image: IndexedJpeg | WholeImage, padding: int, draw: Sequence[float], out: np.ndarray) -> None:
    """The image at the size of `out`, moved by up to `padding` pixels each way, zeros behind it."""
    size = out.shape[0]
    if (image.height, image.width) == (size, size):
        pixels = image.region(Box(0, 0, size, size))
    else:
        pixels = np.empty_like(out)
        resize(image, center_box(image.width, image.height, size, size), pixels)
    dx = int(draw[X] * (2 * padding + 1)) - padding
    dy = int(draw[Y] * (2 * padding + 1)) - padding
    out[:] = 0
    out[max(dy, 0) : size + min(dy, 0), max(dx, 0) : size + min(dx, 0)] = pixels[
        max(-dy, 0) : size - max(dy, 0), max(-dx, 0) : size - max(dx, 0)
    ]


def color_map(mean: Sequence[float], draw: Sequence[float]) -> np.ndarray:
    """Brightness, saturation, hue and contrast as one affine map of RGB: float64 [3, 4].

    `mean` is the image's mean colour: contrast stretches about it, and it goes along with the steps before. Saturation
    and hue stretch and turn the colour plane of YIQ. tf_cnn_benchmarks takes contrast last at even positions of a batch
    and second at odd ones: the same map, for stretching about the mean commutes with what is linear, and nothing is
    clipped between the steps. The one rounding and clipping to 0..255 is cv2.transform's, at the end.
    """
    brightness = _between(draw[BRIGHTNESS], -BRIGHTNESS_DELTA, BRIGHTNESS_DELTA)
    saturation = _between(draw[SATURATION], *SATURATION_RANGE)
    angle = _between(draw[HUE], -HUE_DELTA, HUE_DELTA)
    contrast = _between(draw[CONTRAST], *CONTRAST_RANGE)
    chroma, turn = saturation * math.cos(angle), saturation * math.sin(angle)
    r, g, b = [(1 - contrast) * channel + brightness for channel in mean]
    affine = []
    for luma, i, q in zip(LUMA, CHROMA, TURN, strict=True):  # plain numbers: NumPy takes longer over nine of them
        x, y, z = [one + chroma * two + turn * three for one, two, three in zip(luma, i, q, strict=True)]
        affine.append([contrast * x, contrast * y, contrast * z, x * r + y * g + z * b])
    return np.array(affine)


def _between(draw: float, low: float, high: float) -> float:
    return low + draw * (high - low)
