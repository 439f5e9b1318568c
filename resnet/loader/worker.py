"""A worker process of the loader: reads records, decodes, augments, and writes pixels into the shared ring.

Started fresh (never forked: OpenCV can deadlock after a fork), without TensorFlow, with OpenCV held to one thread.
It does what it is told and keeps no state between orders, so any worker can do any order, twice if need be.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import zmq

from resnet.loader.augmentation import augment, center_box, draws, resize
from resnet.loader.messages import DONE, FAILED, FAULT, HELLO, ORDER, RECORD_TYPE, SETUP, Filled, OrderHeader
from resnet.loader.ring import Ring
from resnet.processes import die_with_parent
from resnet.records import example
from resnet.records.image_files import Unreadable
from resnet.records.regions import IndexedJpeg, WholeImage, open_image
from resnet.records.shards import RecordReader
from resnet.records.tfrecord import CorruptRecord

POLL_MILLISECONDS = 1000


class Worker:
    """Fills orders. The setup says: shards, ring (slots, batch_size, size), seed, and either augmentation's settings
    (training) or shorter_side (evaluation's centre crop); filenames, whether to send back the images' names."""

    def __init__(self, setup: dict, descriptor: int):
        self._reader = RecordReader([Path(shard) for shard in setup["shards"]])
        slots, batch_size, self._size = setup["ring"]
        self._ring = Ring(slots, batch_size, self._size, descriptor)
        self._setup = setup
        self._augmentation = SimpleNamespace(**setup["augmentation"]) if setup["augmentation"] else None

    def fill(self, order: OrderHeader, records: np.ndarray) -> Filled:
        """Write the order's images into its rows. `records` is RECORD_TYPE [n]. Raises OSError for files."""
        rows = self._ring.pixels(order.slot)[order.row : order.row + len(records)]
        random = draws(self._setup["seed"], order.epoch, order.position, len(records)).tolist()
        filenames = [""] * len(records) if self._setup["filenames"] else []
        damaged, second_reads = [], self._reader.second_reads
        for i, (shard, offset, length, _) in enumerate(records.tolist()):
            try:
                payload = self._reader.payload(shard, offset, length)
                if filenames:
                    filenames[i] = example.describe(payload).filename
                self._show(open_image(example.encoded_image(payload)), random[i], rows[i])
            except CorruptRecord as error:
                damaged.append((i, str(error)))
            except (Unreadable, example.Malformed) as error:
                damaged.append((i, f"{self._setup['shards'][shard]}: the record at byte {offset} is damaged: {error}"))
        return Filled(filenames, damaged, self._reader.second_reads - second_reads)

    def _show(self, image: IndexedJpeg | WholeImage, draw: list[float], out: np.ndarray) -> None:
        if self._augmentation:
            augment(image, draw, self._augmentation, out)  # type: ignore[arg-type]
        else:
            resize(image, center_box(image.width, image.height, self._size, self._setup["shorter_side"]), out)


def main() -> None:
    address, descriptor, parent = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    die_with_parent(parent)
    for number in (signal.SIGINT, signal.SIGTERM):  # they reach the whole group; the loader decides when to stop
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(1)
    socket = zmq.Context().socket(zmq.DEALER)
    socket.connect(address)
    gc.freeze()  # what was imported stays: nothing of it to look through again and again
    socket.send_multipart([HELLO, str(os.getpid()).encode()])
    worker: Worker | None = None
    while True:
        while not socket.poll(POLL_MILLISECONDS):
            if os.getppid() != parent:  # where the kernel does not tell of the parent's end
                return
        kind, *parts = socket.recv_multipart()
        if kind == SETUP:
            worker = Worker(json.loads(parts[0]), descriptor)
        elif kind == ORDER and worker is not None:
            socket.send_multipart(answer(worker, *parts))


def answer(worker: Worker, header: bytes, records: bytes) -> list[bytes]:
    """Do an order; what to say of it."""
    try:
        filled = worker.fill(OrderHeader.unpack(header), np.frombuffer(records, RECORD_TYPE))
        return [DONE, header, filled.pack()]
    except OSError as error:
        return [FAILED, header, f"cannot read {error.filename}: {error.strerror}".encode()]
    except Exception:
        return [FAULT, header, traceback.format_exc().encode()]


if __name__ == "__main__":
    main()
