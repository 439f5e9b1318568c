"""What a shard was made from, so that images that changed since are found, and images that did not are kept.

The stamp covers names, sizes and times; another stamp means that somebody must look. The content decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from resnet.datasets.source import Image

STAMPS = 16  # of the same images in several places: local copies of several hosts


def stamp_of(images: Iterable[Image]) -> str:
    """Changes whenever one of the images may have changed. Reads none of them."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(_stamp(image))
    return digest.hexdigest()


class Reader:
    """Reads a shard's images in order, and notes what it read."""

    def __init__(self) -> None:
        self._stamp, self._content = hashlib.sha256(), hashlib.sha256()

    def read(self, image: Image) -> bytes:
        """The image file. Raises OSError."""
        self._stamp.update(_stamp(image))  # before it is read: a change meanwhile is seen the next time
        try:
            content = image.read()
        except OSError:
            self._content.update(b"cannot be read")
            raise
        self._content.update(hashlib.sha256(content).digest())
        return content

    def facts(self) -> dict[str, Any]:
        """What a summary says of the images that were read."""
        return {"content": self._content.hexdigest(), "stamps": [self._stamp.hexdigest()]}


def read_again(images: Iterable[Image]) -> dict[str, Any]:
    """The facts of images as they are now."""
    reader = Reader()
    for image in images:
        try:
            reader.read(image)
        except OSError:  # noted by the reader
            continue
    return reader.facts()


def with_stamps(facts: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Facts of the same content, seen at other times or in another place too."""
    return facts | {"stamps": list(dict.fromkeys([*facts["stamps"], *more["stamps"]]))[-STAMPS:]}


def _stamp(image: Image) -> bytes:
    try:
        stamp = image.stamp()
    except OSError:
        stamp = "cannot be seen"
    return f"{image.filename}\0{stamp}\n".encode(errors="surrogateescape")
