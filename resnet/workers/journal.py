"""What each worker is at, image by image, in memory that it shares with its owner.

The owner reads there that a worker makes progress, and after its death what it was at. A message could be lost with the
worker that sent it, and one for each image would cost more than this note, which takes a microsecond.
"""

from __future__ import annotations

import mmap
import os
import struct

from resnet.workers.messages import text
from resnet.workers.shared_memory import unnamed_file

HEAD = struct.Struct("<QI")  # how many notes there have been, and the bytes of the last one
ROW = 512  # bytes; of a longer note, the end is kept


class Journal:
    """A row for each worker of a pool. The owner makes it; a worker opens it by its descriptor."""

    def __init__(self, descriptor: int):
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, 0)

    @classmethod
    def of(cls, rows: int) -> Journal:
        """A new one."""
        return cls(unnamed_file(rows * ROW))

    def write(self, row: int, what: str) -> None:
        """Note what the worker of a row is at; an empty note says that it has no job."""
        note, start = text(what)[HEAD.size - ROW :], row * ROW
        self._memory[start + HEAD.size : start + HEAD.size + len(note)] = note
        HEAD.pack_into(self._memory, start, self.count(row) + 1, len(note))

    def count(self, row: int) -> int:
        """How many notes the row has had."""
        return HEAD.unpack_from(self._memory, row * ROW)[0]

    def last(self, row: int) -> str:
        """The last note."""
        start = row * ROW + HEAD.size
        return self._memory[start : start + HEAD.unpack_from(self._memory, row * ROW)[1]].decode(errors="replace")

    def close(self) -> None:
        self._memory.close()
        os.close(self.descriptor)
