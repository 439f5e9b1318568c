"""Which record comes when: a pure function of (seed, epoch, position).

Training is one endless stream: epoch 0 in its random order, then epoch 1 in another, and so on. Batches are cut from
the stream without regard to where an epoch ends, so every image comes exactly once an epoch and none is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np

ORDER_STREAM = 1  # the high word of Philox's counter: keeps the order's draws apart from the augmentation's (0)


class Stretch(NamedTuple):
    """Successive images of one epoch."""

    epoch: int
    position: int  # of the first, in its epoch
    records: np.ndarray  # which records, int [n]


class BatchOrder(Protocol):
    batch_size: int

    def batch(self, step: int) -> list[Stretch]:
        """What the batch of this step consists of."""


class TrainingOrder:
    def __init__(self, records: int, batch_size: int, seed: int):
        self.batch_size = batch_size
        self._records = records
        self._permutation = lru_cache(maxsize=2)(lambda epoch: permutation(seed, epoch, records))

    def batch(self, step: int) -> list[Stretch]:
        stretches, start, end = [], step * self.batch_size, (step + 1) * self.batch_size
        while start < end:
            epoch, position = divmod(start, self._records)
            records = self._permutation(epoch)[position : position + end - start]
            stretches.append(Stretch(epoch, position, records))
            start += len(records)
        return stretches


class EvaluationOrder:
    """Every record once a round, as they lie in the shards; a round's last batch is as small as it comes out."""

    def __init__(self, records: int, batch_size: int):
        self.batch_size = batch_size
        self._records = records
        self.steps = -(-records // batch_size)

    def batch(self, step: int) -> list[Stretch]:
        start = step % self.steps * self.batch_size
        return [Stretch(0, start, np.arange(start, min(start + self.batch_size, self._records)))]


def permutation(seed: int, epoch: int, records: int) -> np.ndarray:
    """The order of one epoch: int [records]."""
    philox = np.random.Philox(key=np.array([seed, epoch], np.uint64), counter=[0, 0, 0, ORDER_STREAM])
    indices = np.arange(records, dtype=np.uint32 if records < 2**32 else np.uint64)
    np.random.Generator(philox).shuffle(indices)
    return indices


def in_pieces(stretches: list[Stretch], size: int) -> Iterator[tuple[int, Stretch]]:
    """Cut a batch into pieces of at most `size` images, each with the row of the batch that it starts at."""
    row = 0
    for epoch, position, records in stretches:
        for start in range(0, len(records), size):
            piece = records[start : start + size]
            yield row, Stretch(epoch, position + start, piece)
            row += len(piece)
