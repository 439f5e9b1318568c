"""Photographs, and copies of them as they are found in folders of images."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from sample_images import jpeg
from sklearn.datasets import load_sample_images


def cuts(count: int, width: int = 210, height: int = 200) -> list[np.ndarray]:
    """Parts of scikit-learn's two photographs, in turn, uint8 RGB: no two show the same."""
    photographs, (rows, columns) = load_sample_images().images, (427 // height, 640 // width)
    places = [(height * row, width * column) for row in range(rows) for column in range(columns)]
    found = [photograph[y : y + height, x : x + width] for y, x in places for photograph in photographs]
    assert count <= len(found)
    return [np.ascontiguousarray(cut) for cut in found[:count]]


def encoded_again(pixels: np.ndarray) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(jpeg(pixels, 50), np.uint8), cv2.IMREAD_COLOR_RGB)


def half(pixels: np.ndarray) -> np.ndarray:
    return cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def cropped(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    return pixels[height // 100 : height - height // 100, width // 50 :]


def brightened(pixels: np.ndarray) -> np.ndarray:
    return np.clip(pixels.astype(int) + 30, 0, 255).astype(np.uint8)


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "encoded again at quality 50": encoded_again,
    "scaled to half": half,
    "cropped by 2 %": cropped,
    "brightened": brightened,
}
