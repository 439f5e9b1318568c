"""Whether a pipeline shows the same pixels as this project does: same images, boxes, flips and colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from work import SEED, Work

from resnet.images.stored import to_stored
from resnet.loader.random_streams import AUGMENTATION, draws
from resnet.loader.transforms import Augment, show
from resnet.settings import Augmentation

MAX_COMPARED = 64  # images of a batch
COARSE = 16  # every how many pixels images are looked at, to find which is which


def difference(batch: Any, work: Work) -> float:
    """Mean absolute difference from this project's pixels, of 255, over the images of a batch.

    A pipeline may shuffle, so each image is compared with the one of this project's that is most like it.
    """
    expected = this_projects(work)
    coarse = _coarse(expected)
    differences = []
    for image in as_array(batch)[:MAX_COMPARED]:
        nearest = np.abs(coarse - _coarse(image[None])).mean(axis=1).argmin()
        differences.append(np.abs(expected[nearest].astype(int) - image).mean())
    return float(np.mean(differences))


def this_projects(work: Work) -> np.ndarray:
    """Each image as this project shows it: uint8 [images, size, size, 3]."""
    transform = Augment.of(Augmentation(crop=work.crop, color=work.color), work.size)
    out = np.empty((len(work.boxes), work.size, work.size, 3), np.uint8)
    drawn = draws(SEED, 0, 0, len(out), AUGMENTATION).tolist()
    for path, draw, pixels in zip(work.files, drawn, out, strict=True):
        show(to_stored(path.read_bytes()).encoded, transform, [draw], pixels)
    return out


def as_array(batch: Any) -> np.ndarray:
    """A batch of any pipeline as RGB [n, size, size, 3]."""
    if isinstance(batch, (list, tuple)):
        batch = batch[0]
    images = batch.as_array() if hasattr(batch, "as_array") else np.asarray(batch)
    return images if images.shape[-1] == 3 else images.transpose(0, 2, 3, 1)


def _coarse(images: np.ndarray) -> np.ndarray:
    return images[:, ::COARSE, ::COARSE].reshape(len(images), -1).astype(np.int32)
