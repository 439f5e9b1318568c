"""The loader: batches in order, whoever works on them.

What it promises:
- order: the batches of `order`, from `first_step` to `last_step`, each one exactly once, pixels a pure function of
  (seed, epoch, position): the same for any number of workers, and for a start at any step;
- workers that end or get stuck are replaced, and the stream does not change (see `resnet.loader.crew`);
- a damaged record is read a second time, then named on standard error and counted. Up to `max_corrupt` of them another
  image takes the place, the next one in the order of the shards, wherever and whenever the stream is read. One more
  stops the loader with an error that names the shard and the place;
- when the process that holds the loader ends, in whatever way, its workers end and the shared memory is freed;
- memory: `slots` batches of pixels, and 60 MB a worker.

A thread of the trainer's process hands out orders and takes in completions, so the workers are fed while a step runs.
Pixels never pass through it: they lie in the ring, and a slot is used again once the batch's array is gone.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from resnet import settings
from resnet.errors import UserError
from resnet.loader.crew import AHEAD, Crew, Order
from resnet.loader.messages import RECORD_TYPE, Filled, OrderHeader
from resnet.loader.order import BatchOrder, in_pieces
from resnet.loader.ring import Ring
from resnet.records.shards import ShardedRecords

PIECE = 64  # images an order: some 40 ms of work at ImageNet's sizes, so that the wait for the slowest is short
LEAST_SLOTS = 4  # one with the trainer, one ready, two being filled
LONG_WAIT = 30.0  # seconds without a batch after which the trainer says what it waits for


class Batch(NamedTuple):
    step: int
    images: np.ndarray  # uint8 RGB [n, size, size, 3], in shared memory: gone, the slot is used again
    labels: np.ndarray  # int32 [n]
    filenames: list[str]  # empty unless asked for


@dataclass
class _BatchInWork:
    slot: int
    records: np.ndarray  # which, int [n]
    labels: np.ndarray
    waiting: int  # orders still out
    filenames: dict[int, str] = field(default_factory=dict)  # by row


class Loader:
    """Iterate over it, as a context manager. `augmentation` for training images, else evaluation's centre crop.

    `damaged` lists the records that could not be read, `second_reads` counts those that could at the second attempt.
    """

    def __init__(
        self,
        records: ShardedRecords,
        order: BatchOrder,
        size: int,
        *,
        first_step: int,
        last_step: int,
        workers: int,
        seed: int = 0,
        augmentation: settings.Augmentation | None = None,
        shorter_side: int = 0,
        filenames: bool = False,
        max_corrupt: int = 0,
    ):
        self.damaged: list[str] = []
        self.second_reads = 0
        self._records = records
        self._order = order
        self._last_step = last_step
        self._step_to_order, self._step_to_give = first_step, first_step
        slots = max(LEAST_SLOTS, 2 + -(-AHEAD * workers * min(PIECE, order.batch_size) // order.batch_size))
        self._ring = Ring(min(slots, max(last_step - first_step, 1)), order.batch_size, size)
        setup = {
            "shards": [str(path) for path in records.shards],
            "ring": [self._ring.slots, order.batch_size, size],
            "seed": seed,
            "augmentation": augmentation.model_dump() if augmentation else None,
            "shorter_side": shorter_side,
            "filenames": filenames,
        }
        self._crew = Crew(workers, setup, self._ring.descriptor, self._describe)
        self._max_corrupt = max_corrupt
        self._free = deque(range(self._ring.slots))
        self._in_work: dict[int, _BatchInWork] = {}  # by step
        self._batch_of_order: dict[int, _BatchInWork] = {}
        self._next_order = 0
        self._ready = threading.Condition()
        self._error: Exception | None = None
        self._stopping = False
        self._closed = False
        self._waking = threading.RLock()  # the collector may give a slot back in the middle of anything
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._serve, name="loader", daemon=True)
        self._thread.start()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Batch]:
        while self._step_to_give < self._last_step:
            self._step_to_give += 1
            yield self._take(self._step_to_give - 1)

    @property
    def memory(self) -> np.ndarray:
        """The ring that all batches lie in, uint8."""
        return self._ring.memory

    def close(self) -> None:
        """End the workers and let go of the memory. Arrays handed out before stay valid."""
        self._stopping = True
        self._wake()
        self._thread.join()

    def _take(self, step: int) -> Batch:
        with self._ready:
            while not self._error and not (step in self._in_work and self._in_work[step].waiting == 0):
                if not self._ready.wait(LONG_WAIT):
                    self._say(f"no images of step {step:,} for {LONG_WAIT:.0f} s; is {self._records.folder} slow?")
            if self._error:
                raise self._error
            done = self._in_work.pop(step)
        images = self._ring.lend(done.slot, len(done.records), self._give_back)
        return Batch(step, images, done.labels, [done.filenames[row] for row in sorted(done.filenames)])

    def _give_back(self, slot: int) -> None:
        self._free.append(slot)
        self._wake()

    def _wake(self) -> None:
        with self._waking:  # an array may outlive the loader, and its pipe's number may be another file's by then
            if not self._closed:
                os.write(self._wake_write, b"\0")

    def _serve(self) -> None:
        """The thread, which alone calls the crew. Its end is the workers' end."""
        try:
            while not self._stopping:
                self._order_batches()
                for order, filled in self._crew.done(self._wake_read):
                    self._take_in(order, filled)
        except Exception as error:
            self._error = error
        finally:
            with self._ready:  # for who should ask for another batch
                self._error = self._error or RuntimeError("the loader is closed")
                self._ready.notify_all()
            self._crew.close()
            self._ring.close()
            with self._waking:
                self._closed = True
                os.close(self._wake_read)
                os.close(self._wake_write)

    def _order_batches(self) -> None:
        """Cut the next batches into orders, as far as there are free slots."""
        while self._free and self._step_to_order < self._last_step:
            slot, step = self._free.popleft(), self._step_to_order
            self._step_to_order += 1
            stretches = self._order.batch(step)
            members = np.concatenate([stretch.records for stretch in stretches])
            labels = self._records.index["label"][members].astype(np.int32)
            pieces = list(in_pieces(stretches, PIECE))
            batch = _BatchInWork(slot, members, labels, len(pieces))
            with self._ready:
                self._in_work[step] = batch
            for row, (epoch, position, records) in pieces:
                self._submit(batch, row, epoch, position, records)

    def _submit(self, batch: _BatchInWork, row: int, epoch: int, position: int, records: np.ndarray) -> None:
        header = OrderHeader(self._next_order, batch.slot, row, epoch, position)
        self._next_order += 1
        self._batch_of_order[header.number] = batch
        self._crew.submit(Order(header, self._records.index[records].astype(RECORD_TYPE, copy=False)))

    def _take_in(self, order: Order, filled: Filled) -> None:
        batch, header = self._batch_of_order.pop(order.header.number), order.header
        self.second_reads += filled.second_reads
        if filled.second_reads:
            self._say(f"{filled.second_reads} records matched their checksum only when read a second time")
        for i, reason in filled.damaged:
            row = header.row + i
            self._note_damaged(reason, self._records.shards[self._records.index["shard"][batch.records[row]]])
            batch.records[row] = (batch.records[row] + 1) % len(self._records)
            batch.labels[row] = self._records.index["label"][batch.records[row]]
            self._submit(batch, row, header.epoch, header.position + i, batch.records[row : row + 1])
        with self._ready:
            batch.filenames.update(enumerate(filled.filenames, start=header.row))
            batch.waiting += len(filled.damaged) - 1
            if not batch.waiting:
                self._ready.notify()

    def _note_damaged(self, reason: str, shard: Path) -> None:
        if reason in self.damaged:
            return
        if len(self.damaged) >= min(self._max_corrupt, len(self._records) - 1):  # one at least must be left
            remedy = (
                f"The shard is a link to {shard.resolve()}: fetch that file anew."
                if shard.is_symlink()  # records.in_place
                else "To make the shard anew, delete it and run ConvertRecords."
            )
            raise UserError(
                f"{reason}. records.max_corrupt is {self._max_corrupt}: so many damaged records may give way to other "
                f"images. {remedy}"
            )
        self.damaged.append(reason)
        self._say(f"{reason}; the next image takes its place ({len(self.damaged)} of {self._max_corrupt} such records)")

    def _describe(self, order: Order) -> str:
        shard, offset = self._records.shards[order.records["shard"][0]], order.records["offset"][0]
        return f"{len(order.records)} records, the first one at byte {offset} of {shard}"

    def _say(self, what: str) -> None:
        print(f"loader: {what}", file=sys.stderr, flush=True)
