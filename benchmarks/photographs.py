"""JPEGs like ImageNet's to measure with: about 500x375 pixels and 80 to 110 KB, cut from scikit-learn's photographs."""

from __future__ import annotations

import cv2
import numpy as np
from sklearn.datasets import load_sample_images

WIDTH, HEIGHT = 500, 375
BYTES = (80_000, 110_000)


def photographs(count: int, size: tuple[int, int] = BYTES, seed: int = 0) -> list[bytes]:
    """`count` JPEG files, each another cut of one of two photographs, at the quality that gives it its size."""
    random = np.random.default_rng(seed)
    originals = load_sample_images().images
    return [_cut(originals[i % 2], size, random) for i in range(count)]


def _cut(photograph: np.ndarray, size: tuple[int, int], random: np.random.Generator) -> bytes:
    width, height = (WIDTH, HEIGHT) if random.random() < 0.8 else (HEIGHT, WIDTH)
    scale = random.uniform(0.75, 1.0) * min(1, 427 / height)
    w, h = int(width * scale), int(height * scale)
    x, y = (int(random.integers(0, whole - part + 1)) for whole, part in zip((640, 427), (w, h), strict=True))
    pixels = cv2.resize(photograph[y : y + h, x : x + w], (width, height), interpolation=cv2.INTER_CUBIC)
    if random.random() < 0.5:
        pixels = pixels[:, ::-1]
    target = random.uniform(*size)
    low, high = 50, 100  # the greatest quality of at most `target` bytes
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if len(_jpeg(pixels, middle)) <= target else (low, middle)
    return _jpeg(pixels, low)


def _jpeg(pixels: np.ndarray, quality: int) -> bytes:
    return cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
