"""Evaluation with the pixels that torchvision and timm see: Pillow's antialiased resize of the whole image.

Sizes and positions are rounded as in torchvision's Resize and CenterCrop, which timm uses too.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from resnet.images.regions import Box, StoredImage
from resnet.loader.views import scaled_size

FILTERS = {"pillow-bilinear": Image.Resampling.BILINEAR, "pillow-bicubic": Image.Resampling.BICUBIC}


def resize_and_crop(
    image: StoredImage, shorter_side: int, interpolation: str, out: np.ndarray, x: float = 0.5, y: float = 0.5
) -> None:
    """Scale the shorter side to `shorter_side`, and write a square of it to `out`, uint8 [size, size, 3].

    `x` and `y`: where it is, from 0 (left, top) to 1 (right, bottom); by default in the centre.
    """
    size = out.shape[0]
    pixels = resize_box(image, Box(0, 0, image.width, image.height), shorter_side, interpolation)
    left, top = round((pixels.shape[1] - size) * x), round((pixels.shape[0] - size) * y)
    out[:] = pixels[top : top + size, left : left + size]


def resize_box(image: StoredImage, box: Box, shorter_side: int, interpolation: str) -> np.ndarray:
    """A box of the image, its shorter side scaled to `shorter_side`: uint8 [height, width, 3]."""
    pixels = Image.fromarray(image.region(box))
    return np.asarray(pixels.resize(scaled_size(box.width, box.height, shorter_side), FILTERS[interpolation]))
