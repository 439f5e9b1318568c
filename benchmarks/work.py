"""The work that every input pipeline is given: the same images, crops, flips and colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from photographs import photographs

from resnet.images.decoding import decode
from resnet.images.stored import to_stored
from resnet.loader.color import BRIGHTNESS, CONTRAST, HUE, SATURATION
from resnet.loader.random_streams import AUGMENTATION, draws
from resnet.loader.transforms import FLIP
from resnet.loader.views import area_box, scale_box
from resnet.records.example import LabelledImage
from resnet.records.shards import Shard, write_classes
from resnet.settings import Augmentation

SEED = 0
COLORS = [BRIGHTNESS, SATURATION, HUE, CONTRAST]  # which number of a draw decides what
# Their ranges, in TensorFlow's units: brightness as a share of 0..255, hue in turns of the colour circle.
LOW, HIGH = np.array([-32 / 255, 0.5, -0.1, 0.5]), np.array([32 / 255, 1.5, 0.1, 1.5])


class Work(NamedTuple):
    folder: Path  # with records/ (indexed), original/ (a TFRecord file of the JPEGs as they were), and files/
    size: int
    batch: int
    workers: int
    crop: str  # "scale" or "area", as in the recipe's [augmentation]
    color: bool
    boxes: np.ndarray  # int32 [images, 4]: x, y, width, height of each image's crop
    areas: np.ndarray  # float32 [images]: the fraction of the image that its crop shows
    flips: np.ndarray  # bool [images]
    colors: np.ndarray  # float32 [images, 4]: brightness (of 0..1), saturation, hue (turns), contrast

    @classmethod
    def load(cls, folder: Path, size: int, batch: int, workers: int, crop: str, color: bool) -> Work:
        return cls(folder, size, batch, workers, crop, color, **np.load(folder / "drawn.npz"))

    @property
    def files(self) -> list[Path]:
        return sorted((self.folder / "files").iterdir())


class Prepared(NamedTuple):
    images: int
    kilobytes: float  # of an image, on average
    growth: float  # bytes that the restart index adds, in percent


def prepare(folder: Path, *, images: str | None, count: int, size: int, crop: str = "scale") -> Prepared:
    """Write the same images as files, as records of the original JPEGs, and as the records of this project."""
    if images:
        paths = sorted(path for path in Path(images).rglob("*") if path.is_file())[:count]
        encoded = [path.read_bytes() for path in paths]
    else:
        encoded = photographs(count)
    (folder / "files").mkdir()
    for i, content in enumerate(encoded):
        (folder / "files" / f"{i:06d}.jpg").write_bytes(content)
    shapes = [decode(content).shape[:2] for content in encoded]
    stored = [to_stored(content).encoded for content in encoded]
    for name, contents in (("original", encoded), ("records", stored)):
        (folder / name / "index").mkdir(parents=True)
        Shard(folder / name, "train-00000-of-00001").write(
            LabelledImage(content, "JPEG", height, width, 0, "photograph", "photograph", f"{i}.jpg")
            for i, (content, (height, width)) in enumerate(zip(contents, shapes, strict=True))
        )
        write_classes(folder / name, [("photograph", "photograph")])
    np.savez(folder / "drawn.npz", **drawn(shapes, size, crop))
    total = sum(map(len, encoded))
    return Prepared(len(encoded), total / len(encoded) / 1000, 100 * (sum(map(len, stored)) / total - 1))


def drawn(shapes: list[tuple[int, ...]], size: int, crop: str) -> dict[str, Any]:
    """The recipe's random decisions for each image: the fields of `Work` from `boxes` on."""
    settings = Augmentation()
    numbers = draws(SEED, 0, 0, len(shapes), AUGMENTATION)
    boxes = [
        scale_box(width, height, size, draw, settings.scale_min, settings.scale_max)
        if crop == "scale"
        else area_box(width, height, draw, settings.area_min, settings.aspect_max)
        for (height, width), draw in zip(shapes, numbers.tolist(), strict=True)
    ]
    return {
        "boxes": np.array(boxes, np.int32),
        "areas": np.array([box.width * box.height for box in boxes], np.float32) / np.prod(shapes, axis=1),
        "flips": numbers[:, FLIP] < 0.5,
        "colors": (LOW + numbers[:, COLORS] * (HIGH - LOW)).astype(np.float32),
    }
