"""The loader: batches in the sampler's order, whichever worker fills them.

What it promises:
- order: the sampler's batches from `first_step` to `last_step`, each exactly once. Pixels are a pure function of
  (seed, epoch, position): the same for any number of workers, and for a start at any step. Epochs are shown by the
  `transforms` in turn;
- workers that end or get stuck are replaced, and the stream does not change (see `resnet.workers.pool`);
- a shard on a network disk that is away for a moment is read again, for a minute, and each attempt is counted;
- a corrupt record is read a second time, then named and counted. Up to `max_corrupt` of them are substituted by the
  next image in the order of the shards, wherever and whenever the stream is read. One more stops the loader with an
  error that names the shard and the byte. An evaluation (`max_corrupt` is None) substitutes none;
- when the process that owns the loader ends, for whatever reason, its workers end and the shared memory is freed;
- memory: `slots` batches of pixels, and 60 MB a worker.

A thread of the trainer's process gives out jobs and takes in what is done, so the workers stay busy while a step runs.
Pixels never pass through it: they are in the ring, and a slot is reused once nothing refers to the batch's array.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np

from resnet.errors import UserError
from resnet.loader.messages import RECORD_TYPE, Filled, JobHeader, Setup
from resnet.loader.ring import Ring
from resnet.loader.sampler import Sampler, in_pieces
from resnet.loader.transforms import Size, Transform
from resnet.records.shards import ShardedRecords, way_to_mend
from resnet.workers.pool import Work, WorkerPool

logger = logging.getLogger(__name__)

T = TypeVar("T")

PIECE = 64  # images a job: some 40 ms of work at ImageNet's sizes, so that the wait for the slowest is short
AHEAD = 2  # jobs that a worker has at a time, so that it never waits for the next
MIN_SLOTS = 5  # two with the trainer (see `training.feed`), one ready, two being filled
STALLED_SECONDS = 60.0  # on one image, after which a worker is replaced: one of 100 megapixels takes two
SHORT_WAIT = 1.0  # seconds between two looks whether to stop
LONG_WAIT = 30.0  # seconds without a batch after which the loader says what it waits for


class Batch(NamedTuple):
    """What a step trains on."""

    step: int
    images: np.ndarray  # uint8 RGB [n, size, size, 3], in shared memory: its slot is reused when nothing refers to it
    labels: np.ndarray  # int32 [n]
    filenames: list[str]  # empty unless asked for
    sizes: list[Size]  # of images that do not fill their rows, one each: see `transforms.packed`; otherwise empty


@dataclass
class _BatchInWork:
    slot: int
    records: np.ndarray  # which, int [n]
    labels: np.ndarray
    waiting: int  # jobs not yet done
    filenames: dict[int, str] = field(default_factory=dict)  # by row
    sizes: dict[int, Size] = field(default_factory=dict)


class _Job(NamedTuple):
    """Rows of a slot to fill."""

    batch: _BatchInWork
    header: JobHeader


class Loader:
    """Iterate over it, as a context manager.

    `size_of`: the images' size by the number of the step, at most `size`; None: all have that. `pool` has the worker
    processes. `corrupt` lists the records that could not be read, by the names of their shards; those that an earlier
    attempt of a run knows count against `max_corrupt` too, and are not reported again. `second_reads` counts the
    records that could be read at the second attempt, `retries` the reads that a disk failed for the moment.
    `should_stop` is asked while a batch is waited for: the stream then ends early.
    """

    def __init__(
        self,
        records: ShardedRecords,
        sampler: Sampler,
        transforms: Sequence[Transform],
        size: int,
        *,
        first_step: int,
        last_step: int,
        workers: int,
        seed: int = 0,
        filenames: bool = False,
        max_corrupt: int | None = None,
        corrupt: Sequence[str] = (),
        should_stop: Callable[[], bool] = lambda: False,
        size_of: Callable[[int], int] | None = None,
    ):
        self.corrupt = list(corrupt)
        self.second_reads = self.retries = 0
        self._records, self._sampler, self._max_corrupt = records, sampler, max_corrupt
        self._should_stop, self._size_of = should_stop, size_of or (lambda step: size)
        self._step_to_submit, self._step_to_yield, self._last_step = first_step, first_step, last_step
        batch_size = sampler.batch_size
        slots = max(MIN_SLOTS, 3 + -(-AHEAD * workers * min(PIECE, batch_size) // batch_size))
        self._ring = Ring(min(slots, max(last_step - first_step, 1)), batch_size, size)
        shards = [str(path) for path in records.shards]
        setup = Setup(shards, self._ring.slots, batch_size, size, seed, transforms, filenames)
        self.pool = WorkerPool(workers, self._work(setup))
        self._free = deque(range(self._ring.slots))
        self._in_work: dict[int, _BatchInWork] = {}  # by step
        self._jobs: dict[int, _Job] = {}  # by the pool's number
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
        while self._step_to_yield < self._last_step:
            batch = self._take(self._step_to_yield)
            if batch is None:
                return
            self._step_to_yield += 1
            yield batch

    @property
    def memory(self) -> np.ndarray:
        """The ring that all batches are in, uint8."""
        return self._ring.memory

    def close(self) -> None:
        """End the workers and release the memory. Arrays handed out before stay valid."""
        self._stopping = True
        self._wake()
        self._thread.join()

    def _take(self, step: int) -> Batch | None:
        """A step's batch; None if the stream should stop before there is one."""
        waited = 0.0
        with self._ready:
            while not self._error and not (step in self._in_work and self._in_work[step].waiting == 0):
                if self._should_stop():
                    return None
                if not self._ready.wait(SHORT_WAIT):
                    waited += SHORT_WAIT
                    if waited % LONG_WAIT == 0:
                        folder = self._records.folder
                        logger.warning("no images of step %d for %.0f s; is %s slow?", step, waited, folder)
            if self._error:
                raise self._error
            done = self._in_work.pop(step)
        images = self._ring.lend(done.slot, len(done.records), self._give_back, self._size_of(step))
        return Batch(step, images, done.labels, _by_row(done.filenames), _by_row(done.sizes))

    def _give_back(self, slot: int) -> None:
        self._free.append(slot)
        self._wake()

    def _wake(self) -> None:
        with self._waking:  # an array may outlive the loader, and its pipe's number may be another file's by then
            if not self._closed:
                os.write(self._wake_write, b"\0")

    def _serve(self) -> None:
        """The thread, which alone calls the pool. When it ends, the workers end."""
        try:
            while not self._stopping:
                self._submit_batches()
                for number, (filled,) in self.pool.done(self._wake_read):
                    self._take_in(self._jobs.pop(number), Filled.unpack(filled))
        except Exception as error:
            self._error = error
        finally:
            with self._ready:  # for whoever asks for another batch
                self._error = self._error or RuntimeError("the loader is closed")
                self._ready.notify_all()
            self.pool.close()
            self._ring.close()
            with self._waking:
                self._closed = True
                os.close(self._wake_read)
                os.close(self._wake_write)

    def _submit_batches(self) -> None:
        """Cut the next batches into jobs, as long as there are free slots."""
        while self._free and self._step_to_submit < self._last_step:
            slot, step = self._free.popleft(), self._step_to_submit
            self._step_to_submit += 1
            spans = self._sampler.batch(step)
            members = np.concatenate([span.records for span in spans])
            labels = self._records.index["label"][members].astype(np.int32)
            pieces = list(in_pieces(spans, PIECE))
            batch = _BatchInWork(slot, members, labels, len(pieces))
            with self._ready:
                self._in_work[step] = batch
                if not pieces:  # this host has no image in it
                    self._ready.notify()
            for row, (epoch, position, records) in pieces:
                self._submit(batch, JobHeader(slot, row, epoch, position, self._size_of(step)), records)

    def _submit(self, batch: _BatchInWork, header: JobHeader, records: np.ndarray) -> None:
        entries = self._records.index[records].astype(RECORD_TYPE, copy=False)
        self._jobs[self.pool.submit([header.pack(), entries.tobytes()])] = _Job(batch, header)

    def _take_in(self, job: _Job, filled: Filled) -> None:
        batch, header = job
        self.retries += filled.retries  # the worker has warned of each
        self.second_reads += filled.second_reads
        if filled.second_reads:
            logger.warning("%d records matched their checksum only when read a second time", filled.second_reads)
        for i, reason in filled.corrupt:
            row = header.row + i
            self._note_corrupt(reason, batch.records[row])
            batch.records[row] = (batch.records[row] + 1) % len(self._records)
            batch.labels[row] = self._records.index["label"][batch.records[row]]
            again = header._replace(row=row, position=header.position + i)
            self._submit(batch, again, batch.records[row : row + 1])
        with self._ready:
            batch.filenames.update(enumerate(filled.filenames, start=header.row))
            batch.sizes.update((header.row + i, (height, width)) for i, height, width in filled.sizes)
            batch.waiting += len(filled.corrupt) - 1
            if not batch.waiting:
                self._ready.notify()

    def _note_corrupt(self, reason: str, record: int) -> None:
        if self._records.is_among(self.corrupt, record):
            return
        most = min(self._max_corrupt or 0, len(self._records) - 1)  # one at least must be left
        if len(self.corrupt) >= most:
            shard = self._records.shards[self._records.index["shard"][record]]
            rule = (
                "An evaluation needs every record."
                if self._max_corrupt is None
                else f"records.max_corrupt is {self._max_corrupt}: so many corrupt records may be substituted with "
                "other images."
            )
            raise UserError(f"{reason}. {rule} {way_to_mend(shard)}")
        self.corrupt.append(reason.removeprefix(f"{self._records.folder}{os.sep}"))
        count = f"{len(self.corrupt)} of at most {self._max_corrupt} corrupt records"
        logger.warning("%s; the next image is its substitute (%s)", reason, count)

    def _work(self, setup: Setup) -> Work:
        return Work(
            name="the loader",
            module="resnet.loader.worker",
            setup=[setup.pack(), str(self._ring.descriptor).encode()],
            describe=self._describe,
            remedy="Check the disk that the records are on, and the free memory.",
            stalled_seconds=STALLED_SECONDS,
            ahead=AHEAD,
            descriptors=[self._ring.descriptor],
        )

    def _describe(self, parts: Sequence[bytes]) -> str:
        records = np.frombuffer(parts[1], RECORD_TYPE)
        shard, offset = self._records.shards[records["shard"][0]], records["offset"][0]
        return f"{len(records)} records, the first one at byte {offset} of {shard}"


def _by_row(values: dict[int, T]) -> list[T]:
    return [values[row] for row in sorted(values)]
