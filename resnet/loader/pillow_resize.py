"""Evaluation with the pixels that torchvision and timm see: Pillow's antialiased resize of the whole image.

Sizes and positions are rounded as in torchvision's Resize and CenterCrop, which timm uses too.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from resnet.images.regions import Box, StoredImage

FILTERS = {"pillow-bilinear": Image.Resampling.BILINEAR, "pillow-bicubic": Image.Resampling.BICUBIC}


def resize_and_crop(image: StoredImage, shorter_side: int, interpolation: str, out: np.ndarray) -> None:
    """Scale the shorter side to `shorter_side`, and write the centre to `out`, uint8 [size, size, 3]."""
    size = out.shape[0]
    width, height = resized(image.width, image.height, shorter_side)
    whole = Image.fromarray(image.region(Box(0, 0, image.width, image.height)))
    pixels = np.asarray(whole.resize((width, height), FILTERS[interpolation]))
    left, top = round((width - size) / 2), round((height - size) / 2)
    out[:] = pixels[top : top + size, left : left + size]


def resized(width: int, height: int, shorter_side: int) -> tuple[int, int]:
    """Width and height of an image whose shorter side is scaled; the longer one is rounded down."""
    if width <= height:
        return shorter_side, int(shorter_side * height / width)
    return int(shorter_side * width / height), shorter_side
