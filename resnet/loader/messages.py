"""What the trainer's process and its workers say to each other over ZeroMQ. Arrays travel as bytes; nothing is pickled.

worker to loader:  HELLO process id                  I am here
                   DONE order, filenames             the order's pixels are in their slot
                   FAILED order, reason              a record cannot be read
loader to worker:  SETUP {...}                       what to work on: sent once, after HELLO
                   ORDER header, records             fill these rows of this slot
"""

from __future__ import annotations

import struct
from typing import NamedTuple

HELLO, DONE, FAILED, SETUP, ORDER = b"hello", b"done", b"failed", b"setup", b"order"


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
