"""Which record comes when: a pure function of (seed, epoch, position).

Training is one endless stream: epoch 0 in its random order, then epoch 1 in another, and so on. Batches are cut from
the stream wherever an epoch ends, so every image comes exactly once an epoch and none is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np

from resnet.loader.random_streams import SAMPLER, philox


class Span(NamedTuple):
    """Successive images of one epoch."""

    epoch: int
    position: int  # of the first, in its epoch
    records: np.ndarray  # which records, int [n]


class Share(NamedTuple):
    """Which rows of each batch are a host's own: of `hosts` equal blocks of rows, the block `rank`."""

    rank: int = 0
    hosts: int = 1

    def rows(self, batch_size: int) -> range:
        """The rows of a batch of that size. The shares of all hosts, one after the other, are the batch."""
        return range(batch_size * self.rank // self.hosts, batch_size * (self.rank + 1) // self.hosts)


ALL = Share()  # of a host that trains alone


class Sampler(Protocol):
    """Says which images a step's batch has."""

    batch_size: int  # the most images of a batch that this host reads

    def batch(self, step: int) -> list[Span]:
        """The images of this step's batch."""


class TrainingSampler:
    """An endless stream of epochs, each in its own random order. Of each batch, a host has its share: as many images
    as any other, if `batch_size` is a multiple of the number of hosts."""

    def __init__(self, records: int, batch_size: int, seed: int, share: Share = ALL):
        self._whole, self._rows = batch_size, share.rows(batch_size)
        self.batch_size = len(self._rows)
        self._records = records
        self._permutation = lru_cache(maxsize=2)(lambda epoch: permutation(seed, epoch, records))

    def batch(self, step: int) -> list[Span]:
        spans, start = [], step * self._whole + self._rows.start
        end = start + self.batch_size
        while start < end:
            epoch, position = divmod(start, self._records)
            records = self._permutation(epoch)[position : position + end - start]
            spans.append(Span(epoch, position, records))
            start += len(records)
        return spans


class EvaluationSampler:
    """Every record `looks` times a pass, in the order of the shards: the same images come as often, one batch after
    the other, in epochs 0, 1 and so on. The last images of a pass may be fewer than `batch_size`.

    Of each batch, a host has its share. The last batch of a pass is filled from the first host on: the others may have
    fewer images in it, or none, so that all hosts count the same steps.
    """

    def __init__(self, records: int, batch_size: int, looks: int = 1, share: Share = ALL):
        self._whole, self._rows = batch_size, share.rows(batch_size)
        self.batch_size = len(self._rows)
        self._records, self._looks = records, looks
        self.steps = -(-records // batch_size) * looks

    def batch(self, step: int) -> list[Span]:
        number, look = divmod(step % self.steps, self._looks)
        start, end = (min(number * self._whole + row, self._records) for row in (self._rows.start, self._rows.stop))
        return [Span(look, start, np.arange(start, end))]


def permutation(seed: int, epoch: int, records: int) -> np.ndarray:
    """The sampling order of one epoch: int [records]."""
    indices = np.arange(records, dtype=np.uint32 if records < 2**32 else np.uint64)
    np.random.Generator(philox(seed, epoch, SAMPLER)).shuffle(indices)
    return indices


def in_pieces(spans: list[Span], size: int) -> Iterator[tuple[int, Span]]:
    """Cut a batch into pieces of at most `size` images, each with the row of the batch that it starts at."""
    row = 0
    for epoch, position, records in spans:
        for start in range(0, len(records), size):
            piece = records[start : start + size]
            yield row, Span(epoch, position + start, piece)
            row += len(piece)
