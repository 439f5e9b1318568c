"""What a shard was made from, so that images that changed since are found, and images that did not are kept.

The stamp covers names, sizes and times; another stamp means that somebody must look. The content decides.
"""

from __future__ import annotations

import errno
import hashlib
import time
from collections.abc import Callable, Iterable
from typing import Any

from resnet.datasets.source import Image
from resnet.errors import Passing
from resnet.files import TRANSIENT, with_retries


def stamp_of(images: Iterable[Image]) -> str:
    """Changes whenever one of the images may have changed. Reads none of them."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(_stamp(image))
    return digest.hexdigest()


class Reader:
    """Reads a shard's images in order, and notes what it read. It tries again where a network disk is away for a
    moment, and calls `warn` then."""

    def __init__(self, warn: Callable[[str], None], pause: Callable[[float], None] = time.sleep) -> None:
        self._stamp, self._content = hashlib.sha256(), hashlib.sha256()
        self._warn, self._pause = warn, pause

    def read(self, image: Image) -> bytes:
        """The image file. Raises OSError; Passing for a disk that stays away; MemoryError."""

        def on_retry(error: OSError, pause: float) -> None:
            self._warn(f"{image.filename}: {error.strerror}; trying again in {pause:.0f} s")

        self._stamp.update(_stamp(image))  # before it is read: a change meanwhile is seen the next time
        try:
            content = with_retries(image.read, on_retry, pause=self._pause)
        except OSError as error:
            if error.errno == errno.ENOMEM:
                raise MemoryError from None
            if error.errno in TRANSIENT:
                raise Passing(
                    f"{image.filename} cannot be read: {error.strerror}. Check the disk of the images, and run the "
                    "same command again; if only this file cannot be read, remove it. Finished shards are kept."
                ) from None
            self._content.update(b"cannot be read")
            raise
        self._content.update(hashlib.sha256(content).digest())
        return content

    def facts(self) -> dict[str, Any]:
        """What a summary says of the images that were read."""
        return {"content": self._content.hexdigest(), "stamps": [self._stamp.hexdigest()]}


def read_again(images: Iterable[Image], warn: Callable[[str], None]) -> dict[str, Any]:
    """The facts of images as they are now."""
    reader = Reader(warn)
    for image in images:
        try:
            reader.read(image)
        except OSError:  # noted by the reader
            continue
    return reader.facts()


def _stamp(image: Image) -> bytes:
    try:
        stamp = image.stamp()
    except OSError:
        stamp = "cannot be seen"
    return f"{image.filename}\0{stamp}\n".encode(errors="surrogateescape")
