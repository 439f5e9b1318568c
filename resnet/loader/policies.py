"""Which operations an image gets, and how strongly: RandAugment, TrivialAugment, and random erasing.

`draw` is an image's row of `random_streams.draws`, of a stream of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from resnet.images.regions import Box
from resnet.loader import operations
from resnet.loader.operations import Colour, Operation

IMAGENET_MEAN: Colour = (124, 116, 104)  # zero, once ImageNet's mean is subtracted
BLACK: Colour = (0, 0, 0)
Strength = Callable[[float], float]


class Choice(NamedTuple):
    """An operation that a policy may choose, and its strength by a magnitude between -1 and 1."""

    operation: Operation
    strength: Strength
    is_signed: bool = True  # whether the magnitude may be negative


class Change(NamedTuple):
    """An operation that an image gets."""

    operation: Operation
    strength: float
    fill: Colour  # where nothing of the image is left

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        return self.operation(pixels, self.strength, self.fill)


def times(most: float) -> Strength:
    """In proportion to the magnitude."""
    return lambda magnitude: magnitude * most


def factor(most: float) -> Strength:
    """Around 1, and at least 0.1."""
    return lambda magnitude: max(1 + magnitude * most, 0.1)


# Cubuk et al. 2020, in timm's variant in which every operation grows with the magnitude ("inc1").
RAND_AUGMENT = (
    Choice(operations.autocontrast, times(0), is_signed=False),
    Choice(operations.equalize, times(0), is_signed=False),
    Choice(operations.invert, times(0), is_signed=False),
    Choice(operations.rotate, times(30)),
    Choice(operations.posterize, lambda magnitude: 4 - int(4 * magnitude), is_signed=False),
    Choice(operations.solarize, lambda magnitude: 256 - int(256 * magnitude), is_signed=False),
    Choice(operations.solarize_add, times(110), is_signed=False),
    Choice(operations.color, factor(0.9)),
    Choice(operations.contrast, factor(0.9)),
    Choice(operations.brightness, factor(0.9)),
    Choice(operations.sharpness, factor(0.9)),
    Choice(operations.shear_x, times(0.3)),
    Choice(operations.shear_y, times(0.3)),
    Choice(operations.translate_x, times(0.45)),
    Choice(operations.translate_y, times(0.45)),
)
# Müller and Hutter 2021, the wide space, with torchvision's magnitudes. (It moves images by up to 32 pixels whatever
# their size; here it is the same part of any size.)
MAGNITUDES = 31
TRIVIAL_AUGMENT = (
    Choice(operations.identity, times(0), is_signed=False),
    Choice(operations.shear_x, times(0.99)),
    Choice(operations.shear_y, times(0.99)),
    Choice(operations.translate_x, times(32 / 224)),
    Choice(operations.translate_y, times(32 / 224)),
    Choice(operations.rotate, times(135)),
    Choice(operations.brightness, lambda magnitude: 1 + 0.99 * magnitude),
    Choice(operations.color, lambda magnitude: 1 + 0.99 * magnitude),
    Choice(operations.contrast, lambda magnitude: 1 + 0.99 * magnitude),
    Choice(operations.sharpness, lambda magnitude: 1 + 0.99 * magnitude),
    Choice(operations.posterize, lambda magnitude: 8 - round(6 * magnitude), is_signed=False),
    Choice(operations.solarize, lambda magnitude: 255 - 255 * magnitude, is_signed=False),
    Choice(operations.autocontrast, times(0), is_signed=False),
    Choice(operations.equalize, times(0), is_signed=False),
)

# Zhong et al. 2020, with torchvision's area, as a fraction of the image, ratio of width to height, and number of tries.
ERASED_AREA = (0.02, 0.33)
ERASED_RATIO = (0.3, 3.3)
ERASING_TRIES = 10


def rand_augment(draw: Sequence[float], count: int, magnitude: float, deviation: float) -> list[Change]:
    """`count` operations, one after the other, each chosen at random and left out half of the time, as in timm (which
    also draws whether to interpolate linearly or by cubics).

    `magnitude`: 0 to 10, to which each operation adds a normal deviate of this `deviation`.
    """
    changes = []
    for which, is_done, sign, deviate in zip(*(iter(draw[: 4 * count]),) * 4, strict=True):
        if is_done < 0.5:
            strength = magnitude + deviation * NormalDist().inv_cdf(max(deviate, 2.0**-54))
            choice = RAND_AUGMENT[int(which * len(RAND_AUGMENT))]
            changes.append(_change(choice, min(max(strength, 0.0), 10.0) / 10, sign, IMAGENET_MEAN))
    return changes


def trivial_augment(draw: Sequence[float]) -> list[Change]:
    """One operation, with any of the magnitudes."""
    which, magnitude, sign = draw[:3]
    choice = TRIVIAL_AUGMENT[int(which * len(TRIVIAL_AUGMENT))]
    return [_change(choice, int(magnitude * MAGNITUDES) / (MAGNITUDES - 1), sign, BLACK)]


def _change(choice: Choice, magnitude: float, sign: float, fill: Colour) -> Change:
    """`sign`: a uniform number, which makes the magnitude negative half of the time, where it may be."""
    signed = -magnitude if choice.is_signed and sign < 0.5 else magnitude
    return Change(choice.operation, choice.strength(signed), fill)


def erase(pixels: np.ndarray, draw: Sequence[float], probability: float) -> None:
    """Cover a random rectangle with ImageNet's mean colour, with this probability. It changes `pixels`."""
    height, width = pixels.shape[:2]
    if box := erased_box(height, width, draw, probability):
        x, y, width, height = box
        pixels[y : y + height, x : x + width] = IMAGENET_MEAN


def erased_box(height: int, width: int, draw: Sequence[float], probability: float) -> Box | None:
    """The rectangle that is erased from an image of this size; None for none."""
    happens, x, y, *tries = draw
    if happens >= probability:
        return None
    low, high = map(math.log, ERASED_RATIO)
    for area, ratio in zip(tries[0 : 2 * ERASING_TRIES : 2], tries[1 : 2 * ERASING_TRIES : 2], strict=True):
        target = height * width * (ERASED_AREA[0] + area * (ERASED_AREA[1] - ERASED_AREA[0]))
        aspect = math.exp(low + ratio * (high - low))
        w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if w < width and h < height:
            return Box(int(x * (width - w + 1)), int(y * (height - h + 1)), w, h)
    return None
