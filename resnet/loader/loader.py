"""The loader: batches in order, whoever works on them.

What it promises:
- order: the batches of `order`, from `first_step` to `last_step`, each one exactly once, pixels a pure function of
  (seed, epoch, position): the same for any number of workers, and for a start at any step;
- a worker that ends, in whatever way, is replaced and its orders are given out again: the stream does not change.
  Workers that keep ending without finishing anything stop the loader with an error;
- a record that cannot be read stops the loader with an error that names the shard and the place;
- when the process that holds the loader ends, in whatever way, its workers end and the shared memory is freed;
- memory: `slots` batches of pixels, and the workers.

A thread of the trainer's process hands out orders and takes in completions, so the workers are fed while a step runs.
Pixels never pass through it: they lie in the ring, and a slot is used again once the batch's array is gone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import zmq

from resnet import settings
from resnet.errors import UserError
from resnet.loader.messages import FAILED, HELLO, ORDER, SETUP, OrderHeader
from resnet.loader.order import Order, in_pieces
from resnet.loader.ring import Ring
from resnet.loader.worker import RECORD_TYPE
from resnet.records.shards import ShardedRecords

SLOTS = 4  # one with the trainer, one ready, two being filled
PIECE = 32  # images an order: some 40 ms of work at ImageNet's sizes, so that the wait for the slowest is short
AHEAD = 2  # orders that a worker holds, so that it never waits for the next
FRUITLESS_STARTS = 3  # times that each worker may start anew before anything is finished
LOOK_SECONDS = 0.2  # how often the workers are looked after


class Batch(NamedTuple):
    step: int
    images: np.ndarray  # uint8 RGB [n, size, size, 3], in shared memory: gone, the slot is used again
    labels: np.ndarray  # int32 [n]
    filenames: list[str]  # empty unless asked for


@dataclass
class _BatchInWork:
    slot: int
    rows: int
    labels: np.ndarray
    waiting: int  # orders still out
    filenames: dict[int, list[str]] = field(default_factory=dict)  # by row


@dataclass
class _WorkerProcess:
    process: subprocess.Popen
    identity: bytes | None = None  # ZeroMQ's name of it, known from its first word
    orders: dict[int, list[bytes]] = field(default_factory=dict)


class Loader:
    """Iterate over it, as a context manager. `augmentation` for training images, else evaluation's centre crop."""

    def __init__(
        self,
        records: ShardedRecords,
        order: Order,
        size: int,
        *,
        first_step: int,
        last_step: int,
        workers: int,
        seed: int = 0,
        augmentation: settings.Augmentation | None = None,
        shorter_side: int = 0,
        filenames: bool = False,
    ):
        self._records = records
        self._order = order
        self._last_step = last_step
        self._step_to_order, self._step_to_give = first_step, first_step
        self._ring = Ring(min(SLOTS, max(last_step - first_step, 1)), order.batch_size, size)
        self._setup = {
            "shards": [str(path) for path in records.shards],
            "ring": [self._ring.slots, order.batch_size, size],
            "seed": seed,
            "augmentation": augmentation.model_dump() if augmentation else None,
            "shorter_side": shorter_side,
            "filenames": filenames,
        }
        self._wanted_workers = workers
        self._workers: list[_WorkerProcess] = []
        self._starts_left = workers * (1 + FRUITLESS_STARTS)
        self._free = deque(range(self._ring.slots))
        self._to_do: deque[tuple[int, list[bytes]]] = deque()
        self._in_work: dict[int, _BatchInWork] = {}
        self._step_of_order: dict[int, int] = {}
        self._next_order = 0
        self._ready = threading.Condition()
        self._error: str | None = None
        self._stopping = False
        self._closed = False
        self._waking = threading.RLock()  # the collector may give a slot back in the middle of anything
        self._wake_read, self._wake_write = os.pipe()
        self._folder = Path(tempfile.mkdtemp(prefix="resnet-loader-"))  # private to this user: mode 0700
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

    def close(self) -> None:
        """End the workers and let go of the memory. Arrays handed out before stay valid."""
        self._stopping = True
        self._wake()
        self._thread.join()

    def _take(self, step: int) -> Batch:
        with self._ready:
            while not self._error and not (step in self._in_work and self._in_work[step].waiting == 0):
                self._ready.wait()
            if self._error:
                raise UserError(self._error)
            done = self._in_work.pop(step)
        images = self._ring.lend(done.slot, done.rows, self._give_back)
        return Batch(
            step, images, done.labels, [name for row in sorted(done.filenames) for name in done.filenames[row]]
        )

    def _give_back(self, slot: int) -> None:
        self._free.append(slot)
        self._wake()

    def _wake(self) -> None:
        with self._waking:  # an array may outlive the loader, and its pipe's number may be another file's by then
            if not self._closed:
                os.write(self._wake_write, b"\0")

    def _serve(self) -> None:
        """The thread: all sockets and processes are its own. Its end is the workers' end."""
        context = zmq.Context()
        socket = context.socket(zmq.ROUTER)
        try:
            address = f"ipc://{self._folder}/orders"
            socket.bind(address)
            poller = zmq.Poller()
            poller.register(socket, zmq.POLLIN)
            poller.register(self._wake_read, zmq.POLLIN)
            looked = 0.0
            while not self._stopping:
                if time.monotonic() - looked >= LOOK_SECONDS:
                    self._look_after_workers(address)
                    looked = time.monotonic()
                events = dict(poller.poll(round(LOOK_SECONDS * 1000)))
                if self._wake_read in events:
                    os.read(self._wake_read, 4096)
                while socket.poll(0):
                    self._hear(socket, *socket.recv_multipart())
                self._order_batches()
                self._hand_out(socket)
        except Exception as error:
            self._fail(str(error) if isinstance(error, UserError) else f"the loader failed: {error!r}")
        finally:
            for worker in self._workers:
                worker.process.kill()
            for worker in self._workers:
                worker.process.wait()
            socket.close(linger=0)
            context.term()
            self._ring.close()
            with self._waking:
                self._closed = True
                os.close(self._wake_read)
                os.close(self._wake_write)
            shutil.rmtree(self._folder, ignore_errors=True)

    def _look_after_workers(self, address: str) -> None:
        for worker in [worker for worker in self._workers if worker.process.poll() is not None]:
            self._workers.remove(worker)
            self._to_do.extendleft(reversed(worker.orders.items()))
            print(f"loader: a worker ended (exit code {worker.process.returncode}); replacing it", file=sys.stderr)
        while len(self._workers) < self._wanted_workers:
            if self._starts_left == 0:
                raise UserError(
                    f"the loader's workers keep ending before they finish anything ({self._wanted_workers} workers, "
                    f"{1 + FRUITLESS_STARTS} starts each): see their messages above, and whether memory is short"
                )
            self._starts_left -= 1
            self._workers.append(_WorkerProcess(_start_worker(address, self._ring.descriptor)))

    def _hear(self, socket: zmq.Socket, identity: bytes, kind: bytes, *parts: bytes) -> None:
        if kind == HELLO:
            for newcomer in self._workers:
                if newcomer.process.pid == int(parts[0]):
                    newcomer.identity = identity
                    socket.send_multipart([identity, SETUP, json.dumps(self._setup).encode()])
            return
        worker = next((worker for worker in self._workers if worker.identity == identity), None)
        header = OrderHeader.unpack(parts[0])
        if worker is None or worker.orders.pop(header.number, None) is None:
            return  # the last word of a worker that was replaced meanwhile
        if kind == FAILED:
            raise UserError(parts[1].decode())
        self._starts_left = self._wanted_workers * (1 + FRUITLESS_STARTS)
        with self._ready:
            batch = self._in_work[self._step_of_order.pop(header.number)]
            batch.filenames[header.row] = json.loads(parts[1])
            batch.waiting -= 1
            self._ready.notify()

    def _order_batches(self) -> None:
        """Cut the next batches into orders, as far as there are free slots."""
        while self._free and self._step_to_order < self._last_step:
            slot, step = self._free.popleft(), self._step_to_order
            self._step_to_order += 1
            stretches = self._order.batch(step)
            labels = np.concatenate([self._records.index["label"][stretch.records] for stretch in stretches])
            pieces = list(in_pieces(stretches, PIECE))
            with self._ready:
                self._in_work[step] = _BatchInWork(slot, len(labels), labels.astype(np.int32), len(pieces))
            for row, (epoch, position, members) in pieces:
                header = OrderHeader(self._next_order, slot, row, epoch, position)
                records = self._records.index[members].astype(RECORD_TYPE)
                self._step_of_order[self._next_order] = step
                self._to_do.append((self._next_order, [ORDER, header.pack(), records.tobytes()]))
                self._next_order += 1

    def _hand_out(self, socket: zmq.Socket) -> None:
        """Give each worker its next orders, to the least busy first."""
        for held in range(AHEAD):
            for worker in self._workers:
                if worker.identity and len(worker.orders) <= held and self._to_do:
                    number, message = self._to_do.popleft()
                    worker.orders[number] = message
                    socket.send_multipart([worker.identity, *message])

    def _fail(self, message: str) -> None:
        with self._ready:
            self._error = message
            self._ready.notify_all()


def _start_worker(address: str, descriptor: int) -> subprocess.Popen:
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "resnet.loader.worker", address, str(descriptor), str(os.getpid())],
        pass_fds=(descriptor,),
        env=os.environ | one_thread,
    )
