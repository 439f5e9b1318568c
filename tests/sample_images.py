"""Photographs to test with, and records of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from sklearn.datasets import load_sample_images

from resnet.images.perceptual_hash import KIND
from resnet.images.stored import to_stored
from resnet.records.example import LabelledImage
from resnet.records.shards import Shard, shard_name, write_classes


def jpeg(pixels: np.ndarray, quality: int = 90) -> bytes:
    """RGB pixels as a JPEG file."""
    return cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def photographs(count: int, seed: int = 0) -> list[tuple[bytes, int]]:
    """JPEG crops of scikit-learn's two photographs, of many sizes, and which of the two each is of."""
    random = np.random.default_rng(seed)
    originals = load_sample_images().images
    crops = []
    for i in range(count):
        width, height = (int(random.integers(40, 200)) for _ in range(2))
        x, y = int(random.integers(0, 640 - width)), int(random.integers(0, 427 - height))
        crops.append((jpeg(originals[i % 2][y : y + height, x : x + width]), i % 2))
    return crops


def write_records(folder: Path, split: str, images: list[tuple[bytes, int]], shards: int = 3) -> None:
    """Records as conversion leaves them, without its processes."""
    (folder / "index").mkdir(parents=True, exist_ok=True)
    stored = [to_stored(encoded) for encoded, _ in images]
    labelled = [
        LabelledImage(*one[:4], label, f"class{label}", f"class {label}", f"{split}-{i}.jpg")
        for i, (one, (_, label)) in enumerate(zip(stored, images, strict=True))
    ]
    for number in range(shards):
        hashes = "".join(one.perceptual_hash for one in stored[number::shards])
        shard = Shard(folder, shard_name(split, number, shards))
        shard.write(labelled[number::shards], perceptual_hashes={KIND: hashes})
    labels = range(max(label for _, label in images) + 1)
    write_classes(folder, [(f"class{label}", f"class {label}") for label in labels])
