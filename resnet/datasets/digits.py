"""The 1,797 scans of handwritten digits (8x8 pixels, 17 greys) that scikit-learn bundles: no download."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from resnet import settings
from resnet.datasets.source import Dataset, Fingerprint, PixelImage, Split, split_off_validation


class Digits:
    """The digits, a fraction of each class kept for validation."""

    def __init__(self, dataset: settings.Dataset, data: Path | None, downloads: Path):
        self._dataset = dataset

    def fingerprint(self) -> Fingerprint:
        return Fingerprint(listing="digits of scikit-learn", stamp="digits of scikit-learn")

    def load(self) -> Dataset:
        from sklearn.datasets import load_digits  # takes a second, which only this data set should cost

        scans = load_digits()
        pixels = np.rint(scans.images * (255 / 16)).astype(np.uint8)
        images = Split(scans.target.astype(np.int32), lambda i: PixelImage(f"digit-{i:04d}.png", pixels[i]))
        train, validation = split_off_validation(images, self._dataset.validation_fraction, self._dataset.split_seed)
        return Dataset([(str(digit), str(digit)) for digit in range(10)], train, validation)
