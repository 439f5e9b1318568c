"""A worker process of the loader: reads records, decodes, transforms, and writes pixels into the shared ring.

It runs without TensorFlow, with OpenCV on one thread. How it is started and ends: see `resnet.workers.process`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from resnet.files import kind_of
from resnet.images.decoding import Unreadable
from resnet.loader.messages import RECORD_TYPE, Filled, JobHeader, Setup
from resnet.loader.random_streams import draws
from resnet.loader.ring import Ring
from resnet.loader.transforms import Size, show
from resnet.records import example
from resnet.records.shards import RecordReader
from resnet.records.tfrecord import CorruptRecord
from resnet.workers.process import Owner, serve

logger = logging.getLogger(__name__)


class Worker:
    """Fills the rows of jobs. It tells `at` which record it is at, and `warn` what went wrong for a moment."""

    def __init__(
        self,
        setup: Setup,
        descriptor: int,
        at: Callable[[str], None] = lambda _: None,
        warn: Callable[[str], None] = logger.warning,
    ):
        self._setup, self._at = setup, at
        self._reader = RecordReader([Path(shard) for shard in setup.shards], warn=warn)
        self._ring = Ring(setup.slots, setup.batch_size, setup.size, descriptor)

    def fill(self, job: JobHeader, records: np.ndarray) -> Filled:
        """Write a job's images into its rows. `records` is RECORD_TYPE [n]. Raises OSError for unreadable shards."""
        rows = self._ring.pixels(job.slot, job.size)[job.row : job.row + len(records)]
        seed, shards, transforms = self._setup.seed, self._setup.shards, self._setup.transforms
        transform = transforms[job.epoch % len(transforms)]
        drawn = [draws(seed, job.epoch, job.position, len(records), stream).tolist() for stream in transform.streams]
        filenames = [""] * len(records) if self._setup.filenames else []
        sizes: dict[int, Size | None] = {}
        corrupt, second_reads, retries = [], self._reader.second_reads, self._reader.retries
        for i, (shard, offset, length, _) in enumerate(records.tolist()):
            self._at(f"the record at byte {offset} of {shards[shard]}")
            try:
                payload = self._reader.payload(shard, offset, length)
                if filenames:
                    filenames[i] = example.describe(payload).filename
                sizes[i] = show(example.encoded_image(payload), transform, [stream[i] for stream in drawn], rows[i])
            except CorruptRecord as error:
                corrupt.append((i, str(error)))
            except (Unreadable, example.Malformed) as error:
                corrupt.append((i, f"{shards[shard]}: the record at byte {offset} is corrupt: {error}"))
        second_reads, retries = self._reader.second_reads - second_reads, self._reader.retries - retries
        return Filled(filenames, corrupt, second_reads, retries, [(i, *size) for i, size in sizes.items() if size])


def begin(setup: Sequence[bytes], owner: Owner) -> Callable[[Sequence[bytes]], Sequence[bytes]]:
    """What does a job of the loader."""
    worker = Worker(Setup.unpack(setup[0]), int(setup[1]), owner.at, owner.warn)

    def fill(parts: Sequence[bytes]) -> Sequence[bytes]:
        header, records = parts
        try:
            return [worker.fill(JobHeader.unpack(header), np.frombuffer(records, RECORD_TYPE)).pack()]
        except OSError as error:  # other images would not help: a shard is missing
            raise kind_of(error)(f"cannot read {error.filename}: {error.strerror}") from None

    return fill


if __name__ == "__main__":
    cv2.setNumThreads(1)
    serve(begin)
