"""What the conversion and its workers say to each other, as the parts of `resnet.workers.messages`. Nothing is pickled.

setup: Setup
job:   COMPILE alone; or WRITE or LOOK, then a ShardJob: a part of JSON, a part for the pixels of each image with some
done:  nothing after COMPILE; the shard's summary as JSON after WRITE; the facts of its images after LOOK

JSON keeps file names that are not UTF-8: their bytes are lone surrogates in Python, and escapes in ASCII.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from resnet.datasets.source import FileImage, Image, PixelImage
from resnet.datasets.tfrecords import RecordImage

COMPILE, WRITE, LOOK = b"compile", b"write", b"look"


class Setup(NamedTuple):
    """What all shards have in common."""

    folder: Path  # of the records
    classes: list[tuple[str, str]]  # identifier and name
    max_megapixels: float  # of an image that is converted

    def pack(self) -> bytes:
        return json.dumps([os.fspath(self.folder), *self[1:]]).encode()

    @classmethod
    def unpack(cls, data: bytes) -> Setup:
        folder, classes, max_megapixels = json.loads(data)
        return cls(Path(folder), [(identifier, name) for identifier, name in classes], max_megapixels)


class ShardJob(NamedTuple):
    """A shard to write, or to look at again."""

    name: str
    images: list[tuple[Image, int]]  # with their labels
    digest: str  # of the list of images

    def pack(self) -> list[bytes]:
        pixels = [image.pixels.tobytes() for image, _ in self.images if isinstance(image, PixelImage)]
        images = [[_fields(image), label] for image, label in self.images]
        return [json.dumps([self.name, images, self.digest]).encode(), *pixels]

    @classmethod
    def unpack(cls, parts: Sequence[bytes]) -> ShardJob:
        name, images, digest = json.loads(parts[0])
        pixels = iter(parts[1:])
        return cls(name, [(_image(kind, fields, pixels), label) for (kind, fields), label in images], digest)


def describe(parts: Sequence[bytes]) -> str:
    """What a job is."""
    return "the JPEG kernels" if parts[0] == COMPILE else f"the shard {json.loads(parts[1])[0]}"


def _fields(image: Image) -> tuple[str, list[Any]]:
    """An image as JSON values: its kind and fields. The pixels are a part of their own."""
    if isinstance(image, FileImage):
        return "file", [image.filename, os.fspath(image.path), int(image.offset), int(image.size)]
    if isinstance(image, RecordImage):
        return "record", [os.fspath(image.path), int(image.offset), int(image.size)]
    if isinstance(image, PixelImage):
        return "pixels", [image.filename, image.pixels.shape]
    raise TypeError(f"resnet/conversion/messages.py cannot pack a {type(image).__name__}")


def _image(kind: str, fields: list[Any], pixels: Any) -> Image:
    if kind == "file":
        filename, path, offset, size = fields
        return FileImage(filename, Path(path), offset, size)
    if kind == "record":
        path, offset, size = fields
        return RecordImage(Path(path), offset, size)
    filename, shape = fields
    return PixelImage(filename, np.frombuffer(next(pixels), np.uint8).reshape(shape))
