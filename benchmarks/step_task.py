"""The training step that every contender is given, and the batch that it trains on. Needs NumPy alone."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

LEARNING_RATE = 0.001  # small: the labels are random, and the loss must stay finite
MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4  # the recipe's
SEED = 0


class LeftOut(Exception):
    """A contender cannot do this task here. Its text says why."""


class StepTask(NamedTuple):
    """A network, a batch and a precision."""

    depth: int
    batch: int  # images
    size: int  # pixels
    classes: int
    precision: str  # as in the recipe's training.precision
    stride_in: str  # as in the recipe's model.stride_in
    deterministic: bool
    images: str  # the file with the batch: see `write_batch`
    replicas: int = 1  # of the recipe, in a batch: their batch-norm statistics are apart; the other contenders have one

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        """Uint8 images [n, size, size, 3] and int32 labels [n]."""
        with np.load(self.images) as arrays:
            return arrays["images"], arrays["labels"]


def made_batch(batch: int, size: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Random uint8 images [batch, size, size, 3] and int32 labels [batch]: always the same ones."""
    random = np.random.default_rng(SEED)
    images = random.integers(0, 256, (batch, size, size, 3), np.uint8)
    return images, random.integers(0, classes, batch, np.int32)


def write_batch(path: Path, batch: int, size: int, classes: int) -> Path:
    """Write the batch that all contenders read; returns its path."""
    images, labels = made_batch(batch, size, classes)
    np.savez(path, images=images, labels=labels)
    return path
