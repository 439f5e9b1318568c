"""What the loader and its workers say to each other over ZeroMQ. Arrays travel as bytes; nothing is pickled.

worker to loader:  HELLO process id         I am here
                   DONE order, Filled       the order's pixels are in their slot; what else there is to know of them
                   FAILED order, reason     it cannot be done, and other images would not help: a shard is gone, say
                   FAULT order, traceback   the worker's code is wrong
loader to worker:  SETUP {...}              what to work on: sent once, after HELLO
                   ORDER header, records    fill these rows of this slot
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

HELLO, DONE, FAILED, FAULT, SETUP, ORDER = b"hello", b"done", b"failed", b"fault", b"setup", b"order"
RECORD_TYPE = np.dtype([("shard", "<i4"), ("offset", "<i8"), ("length", "<i4"), ("label", "<i4")])


class OrderHeader(NamedTuple):
    number: int
    slot: int
    row: int
    epoch: int
    position: int

    def pack(self) -> bytes:
        return struct.pack("<5q", *self)

    @classmethod
    def unpack(cls, data: bytes) -> OrderHeader:
        return cls(*struct.unpack("<5q", data))


class Filled(NamedTuple):
    """What a worker says of an order that it has done."""

    filenames: Sequence[str] = ()  # one an image, where they are asked for
    damaged: Sequence[tuple[int, str]] = ()  # images that cannot be read, counted within the order, and why
    second_reads: int = 0  # records that were right only when read a second time

    def pack(self) -> bytes:
        return json.dumps(self).encode() if any(self) else b""

    @classmethod
    def unpack(cls, data: bytes) -> Filled:
        values: list[Any] = json.loads(data) if data else []
        return cls(*values)
