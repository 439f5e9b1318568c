"""Which box of an image the network sees: random crops for training, fixed places for evaluation.

Boxes are in the coordinates of the stored image, so that only what a box shows needs to be decoded. A `draw` is an
image's row of `random_streams.draws`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from resnet.images.regions import Box

SCALE, X, Y, AREA = 0, 1, 2, 8  # which number of a draw decides what; from AREA on all the rest
LONGEST = 4  # times the shorter side: what a view of the whole image shows at most, so that memory is bounded
AREA_TRIES = 10  # pairs of draws from AREA on, as in torchvision and in Szegedy et al.'s released code


def scale_box(width: int, height: int, size: int, draw: Sequence[float], shortest: int, longest: int) -> Box:
    """The paper's crop (He et al. 2015): scale the shorter side to a random length, crop `size` pixels at random."""
    shorter = shortest + int(draw[SCALE] * (longest - shortest + 1))
    side = max(round(size * min(width, height) / shorter), 1)
    return Box(int(draw[X] * (width - side + 1)), int(draw[Y] * (height - side + 1)), side, side)


def area_box(width: int, height: int, draw: Sequence[float], area_min: float, aspect_max: float) -> Box:
    """A crop of random area and aspect ratio (Szegedy et al. 2015). Where none fits, the centre with a bounded aspect
    ratio."""
    spread = math.log(aspect_max)
    for i in range(AREA, AREA + 2 * AREA_TRIES, 2):
        area, aspect = draw[i], draw[i + 1]
        target = (area_min + area * (1 - area_min)) * width * height
        ratio = math.exp((2 * aspect - 1) * spread)
        w, h = max(round(math.sqrt(target * ratio)), 1), max(round(math.sqrt(target / ratio)), 1)
        if w <= width and h <= height:
            return Box(int(draw[X] * (width - w + 1)), int(draw[Y] * (height - h + 1)), w, h)
    w = min(width, max(round(height * aspect_max), 1))
    h = min(height, max(round(width * aspect_max), 1))
    return Box((width - w) // 2, (height - h) // 2, w, h)


def center_box(width: int, height: int, size: int, shorter_side: int) -> Box:
    """Evaluation's crop: scale the shorter side to `shorter_side`, take the centre of `size` pixels."""
    side = _scaled_back(size, width, height, shorter_side)
    return Box((width - side) // 2, (height - side) // 2, side, side)


def pad_shift(draw: Sequence[float], padding: int) -> tuple[int, int]:
    """How far CIFAR-10's crop moves an image right and down: up to `padding` pixels each way."""
    return int(draw[X] * (2 * padding + 1)) - padding, int(draw[Y] * (2 * padding + 1)) - padding


def corner_box(width: int, height: int, size: int, shorter_side: int, right: bool, bottom: bool) -> Box:
    """Likewise, in a corner: left or right, top or bottom (Krizhevsky et al. 2012)."""
    side = _scaled_back(size, width, height, shorter_side)
    return Box(right * (width - side), bottom * (height - side), side, side)


def scaled_size(width: int, height: int, shorter_side: int) -> tuple[int, int]:
    """Width and height of a rectangle whose shorter side is scaled; the other is rounded down, as in torchvision."""
    if width <= height:
        return shorter_side, int(shorter_side * height / width)
    return int(shorter_side * width / height), shorter_side


def whole_box(width: int, height: int) -> Box:
    """The whole image; of one that is longer than LONGEST times its shorter side, the middle of that length."""
    w, h = min(width, LONGEST * height), min(height, LONGEST * width)
    return Box((width - w) // 2, (height - h) // 2, w, h)


def _scaled_back(size: int, width: int, height: int, shorter_side: int) -> int:
    """The side of a crop in the pixels of the stored image."""
    return max(round(size * min(width, height) / shorter_side), 1)
