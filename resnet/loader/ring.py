"""Batches of pixels in memory that several processes share."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Callable
from weakref import finalize

import numpy as np

from resnet.workers.shared_memory import unnamed_file

PAGE = mmap.PAGESIZE  # slots begin on pages, so their pixels are aligned as TensorFlow needs it (64 bytes)


class Ring:
    """`slots` batches of uint8 [batch_size, size, size, 3], or of smaller images. A slot is reused once nothing refers
    to its view."""

    def __init__(self, slots: int, batch_size: int, size: int, descriptor: int | None = None):
        self.slots = slots
        self._batch_size, self._size = batch_size, size
        self._stride = -(-batch_size * size * size * 3 // PAGE) * PAGE
        self.descriptor = unnamed_file(slots * self._stride) if descriptor is None else descriptor
        self._memory = mmap.mmap(self.descriptor, slots * self._stride)

    @property
    def memory(self) -> np.ndarray:
        """The whole ring, uint8."""
        return np.frombuffer(self._memory, np.uint8)

    def pixels(self, slot: int, size: int | None = None) -> np.ndarray:
        """The slot's pixels, to write into, for images of this size; None: the largest."""
        shape = self._shape(size or self._size)
        return self._view(slot, shape).reshape(shape)

    def lend(self, slot: int, rows: int, on_return: Callable[[int], None], size: int | None = None) -> np.ndarray:
        """The slot's first `rows` images; calls `on_return(slot)` when no array refers to them any more."""
        shape = self._shape(size or self._size)
        view = self._view(slot, shape)
        finalize(view, on_return, slot).atexit = False
        return view.reshape(shape)[:rows]

    def _shape(self, size: int) -> tuple[int, int, int, int]:
        return self._batch_size, size, size, 3

    def _view(self, slot: int, shape: tuple[int, ...]) -> np.ndarray:
        # frombuffer makes an array that owns its view of the memory: slices of it keep it alive, and nothing else.
        return np.frombuffer(self._memory, np.uint8, math.prod(shape), slot * self._stride)

    def close(self) -> None:
        """Release the memory; arrays that still refer to it stay valid."""
        os.close(self.descriptor)
        try:
            self._memory.close()
        except BufferError:
            pass
