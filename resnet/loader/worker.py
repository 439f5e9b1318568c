"""A worker process of the loader: reads records, decodes, transforms, and writes pixels into the shared ring.

It is started fresh (never forked: OpenCV can deadlock after a fork), without TensorFlow, with OpenCV on one thread.
It keeps no state between jobs, so any worker can do any job, twice if need be.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from pathlib import Path

import cv2
import numpy as np
import zmq

from resnet.images.decoding import Unreadable
from resnet.loader.messages import DONE, FAILED, FAULT, HELLO, JOB, RECORD_TYPE, SETUP, Filled, JobHeader, Setup
from resnet.loader.random_streams import draws
from resnet.loader.ring import Ring
from resnet.loader.transforms import show
from resnet.processes import die_with_parent
from resnet.records import example
from resnet.records.shards import RecordReader
from resnet.records.tfrecord import CorruptRecord

POLL_MILLISECONDS = 1000


class Worker:
    """Fills the rows of jobs."""

    def __init__(self, setup: Setup, descriptor: int):
        self._setup = setup
        self._reader = RecordReader([Path(shard) for shard in setup.shards])
        self._ring = Ring(setup.slots, setup.batch_size, setup.size, descriptor)

    def fill(self, job: JobHeader, records: np.ndarray) -> Filled:
        """Write a job's images into its rows. `records` is RECORD_TYPE [n]. Raises OSError for unreadable shards."""
        rows = self._ring.pixels(job.slot)[job.row : job.row + len(records)]
        seed, transform = self._setup.seed, self._setup.transform
        drawn = [draws(seed, job.epoch, job.position, len(records), stream).tolist() for stream in transform.streams]
        filenames = [""] * len(records) if self._setup.filenames else []
        corrupt, second_reads = [], self._reader.second_reads
        for i, (shard, offset, length, _) in enumerate(records.tolist()):
            try:
                payload = self._reader.payload(shard, offset, length)
                if filenames:
                    filenames[i] = example.describe(payload).filename
                show(example.encoded_image(payload), transform, [stream[i] for stream in drawn], rows[i])
            except CorruptRecord as error:
                corrupt.append((i, str(error)))
            except (Unreadable, example.Malformed) as error:
                corrupt.append((i, f"{self._setup.shards[shard]}: the record at byte {offset} is corrupt: {error}"))
        return Filled(filenames, corrupt, self._reader.second_reads - second_reads)


def main() -> None:
    address, descriptor, parent = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    die_with_parent(parent)
    for number in (signal.SIGINT, signal.SIGTERM):  # they reach every process; the loader decides when to stop
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(1)
    socket = zmq.Context().socket(zmq.DEALER)
    socket.connect(address)
    gc.freeze()  # what was imported stays: the collector need not look through it again and again
    socket.send_multipart([HELLO, str(os.getpid()).encode()])
    worker: Worker | None = None
    while True:
        while not socket.poll(POLL_MILLISECONDS):
            if os.getppid() != parent:  # where the kernel does not say that the parent ended
                return
        kind, *parts = socket.recv_multipart()
        if kind == SETUP:
            worker = Worker(Setup.unpack(parts[0]), descriptor)
        elif kind == JOB and worker is not None:
            socket.send_multipart(answer(worker, *parts))


def answer(worker: Worker, header: bytes, records: bytes) -> list[bytes]:
    """Do a job; returns what to answer."""
    try:
        filled = worker.fill(JobHeader.unpack(header), np.frombuffer(records, RECORD_TYPE))
        return [DONE, header, filled.pack()]
    except OSError as error:
        return [FAILED, header, f"cannot read {error.filename}: {error.strerror}".encode()]
    except Exception:
        return [FAULT, header, traceback.format_exc().encode()]


if __name__ == "__main__":
    main()
