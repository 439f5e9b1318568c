"""What the loader and its workers say to each other, as the parts of `resnet.workers.messages`. Nothing is pickled.

setup: Setup, and the descriptor of the ring
job:   JobHeader and records (an array of RECORD_TYPE): fill these rows of this slot
done:  Filled: the pixels are in their slot
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from resnet.loader.transforms import TRANSFORMS, Transform

RECORD_TYPE = np.dtype([("shard", "<i4"), ("offset", "<i8"), ("length", "<i4"), ("label", "<i4")])


class Setup(NamedTuple):
    """What every job of a loader has in common."""

    shards: Sequence[str]
    slots: int  # of the ring
    batch_size: int
    size: int  # of the largest images, pixels
    seed: int
    transforms: Sequence[Transform]  # an epoch is shown by one of them: the first by the first, and so on, in turn
    filenames: bool  # whether to send back the images' names

    def pack(self) -> bytes:
        transforms = [[type(each).__name__, dataclasses.asdict(each)] for each in self.transforms]  # type: ignore[call-overload]
        return json.dumps(self._asdict() | {"transforms": transforms}).encode()

    @classmethod
    def unpack(cls, data: bytes) -> Setup:
        values: dict[str, Any] = json.loads(data)
        transforms = [TRANSFORMS[name](**fields) for name, fields in values.pop("transforms")]
        return cls(**values, transforms=transforms)


class JobHeader(NamedTuple):
    """Where a job's pixels go, where its images are in the epoch, and how large they become."""

    slot: int
    row: int
    epoch: int
    position: int
    size: int  # of the images, pixels

    def pack(self) -> bytes:
        return struct.pack("<5q", *self)

    @classmethod
    def unpack(cls, data: bytes) -> JobHeader:
        return cls(*struct.unpack("<5q", data))


class Filled(NamedTuple):
    """What a worker reports of a job that it has done."""

    filenames: Sequence[str] = ()  # one an image, where they are asked for
    corrupt: Sequence[tuple[int, str]] = ()  # images that cannot be read, counted within the job, and why
    second_reads: int = 0  # records that matched their checksum only when read a second time
    retries: int = 0  # reads that failed for the moment and were tried again
    sizes: Sequence[tuple[int, int, int]] = ()  # of images that do not fill their row: which, height, width

    def pack(self) -> bytes:
        return json.dumps(self).encode() if any(self) else b""

    @classmethod
    def unpack(cls, data: bytes) -> Filled:
        values: list[Any] = json.loads(data) if data else []
        return cls(*values)
