"""The loader's worker processes: started, given orders, watched, replaced.

What it promises: every order that is submitted is reported done once, or `Crew.done` raises an error that says why not.
- A worker that ends, in whatever way, is replaced, and its orders are given out again.
- So is one that gets nowhere for STALLED_SECONDS: it is killed first, so that it cannot write to a slot any more.
- Workers that keep ending before anything is finished, and an order that no worker survives, raise UserError.
- When the process that holds the crew ends, in whatever way, its workers end.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from resnet.errors import UserError
from resnet.loader.messages import FAILED, FAULT, HELLO, ORDER, SETUP, Filled, OrderHeader
from resnet.processes import command

AHEAD = 2  # orders that a worker holds, so that it never waits for the next
FRUITLESS_STARTS = 3  # times that each worker may start anew before anything is finished
MOST_DEATHS = 3  # workers that one order may cost
LOOK_SECONDS = 0.2  # how often the workers are looked after
STALLED_SECONDS = 60.0  # a worker without an answer for so long is replaced: an order is some 40 ms of work


@dataclass(eq=False)
class Order:
    """Rows of a slot to fill."""

    header: OrderHeader
    records: np.ndarray  # RECORD_TYPE [n]
    deaths: int = 0  # workers that ended over it


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen
    identity: bytes = b""  # ZeroMQ's name of it, known from its first word
    orders: dict[int, Order] = field(default_factory=dict)  # by number, in the order that they were given
    silence: float = 0.0  # seconds since it last answered or was given something while idle
    stalled: bool = False


class Crew:
    """`describe` says where an order's records lie, for messages. All calls come from one thread."""

    def __init__(self, workers: int, setup: dict[str, Any], descriptor: int, describe: Callable[[Order], str]):
        self._wanted, self._setup, self._descriptor, self._describe = workers, setup, descriptor, describe
        self._workers: list[_Worker] = []
        self._to_do: deque[Order] = deque()
        self._starts_left = workers * (1 + FRUITLESS_STARTS)
        self._folder = Path(tempfile.mkdtemp(prefix="resnet-loader-"))  # private to this user: mode 0700
        self._address = f"ipc://{self._folder}/orders"
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        try:
            self._socket.bind(self._address)
        except zmq.ZMQError as error:  # the path of a socket has 107 characters at most
            raise UserError(
                f"no socket can be made in {self._folder}: {error}. Set TMPDIR to a shorter path."
            ) from None
        self._looked = 0.0

    def submit(self, order: Order) -> None:
        self._to_do.append(order)

    def done(self, wake: int) -> Iterator[tuple[Order, Filled]]:
        """Wait for news, a moment or until the pipe `wake` can be read; yield the orders that were done meanwhile."""
        self._look_after_workers()
        self._hand_out()
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(wake, zmq.POLLIN)
        if wake in dict(poller.poll(round(LOOK_SECONDS * 1000))):
            os.read(wake, 4096)
        while self._socket.poll(0):
            if answer := self._hear(*self._socket.recv_multipart()):
                yield answer
        self._hand_out()

    def close(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.wait()
        self._socket.close(linger=0)
        self._context.term()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _look_after_workers(self) -> None:
        now = time.monotonic()
        passed = now - self._looked
        if passed < LOOK_SECONDS:
            return
        self._looked = now
        for worker in list(self._workers):
            if worker.process.poll() is not None:
                self._bury(worker)
                continue
            # A computer that was asleep, or a trainer that was stopped, must not blame the time on its workers.
            worker.silence += min(passed, 2 * LOOK_SECONDS)
            at_work = worker.orders or not worker.identity  # or about to be
            if at_work and worker.silence > STALLED_SECONDS and not worker.stalled:
                worker.stalled = True
                worker.process.kill()  # and buried when it is gone, which a hanging disk may delay
        while len(self._workers) < self._wanted:
            self._start_worker()

    def _bury(self, worker: _Worker) -> None:
        """Take back the orders of a worker that ended. The first of them is the one that it was at."""
        self._workers.remove(worker)
        code = worker.process.returncode
        what = f"was stuck for {STALLED_SECONDS:.0f} s" if worker.stalled else f"ended (exit code {code})"
        if orders := list(worker.orders.values()):
            orders[0].deaths += 1
            if orders[0].deaths == MOST_DEATHS:
                raise UserError(
                    f"{MOST_DEATHS} workers of the loader did not survive the same images, the last one {what}: "
                    f"{self._describe(orders[0])}. Is the disk that they lie on in order, and is there memory enough?"
                )
            self._to_do.extendleft(reversed(orders))
        print(f"loader: a worker {what}; another takes its place", file=sys.stderr, flush=True)

    def _start_worker(self) -> None:
        if self._starts_left == 0:
            raise UserError(
                f"the loader's workers keep ending before they finish anything ({self._wanted} workers, "
                f"{1 + FRUITLESS_STARTS} starts each): see their messages above, and whether memory is short"
            )
        self._starts_left -= 1
        self._workers.append(_Worker(start_process(self._address, self._descriptor)))

    def _hear(self, identity: bytes, kind: bytes, *parts: bytes) -> tuple[Order, Filled] | None:
        if kind == HELLO:
            for newcomer in self._workers:
                if newcomer.process.pid == int(parts[0]):
                    newcomer.identity = identity
                    self._socket.send_multipart([identity, SETUP, json.dumps(self._setup).encode()])
            return None
        worker = next((worker for worker in self._workers if worker.identity == identity), None)
        order = worker.orders.pop(OrderHeader.unpack(parts[0]).number, None) if worker else None
        if worker is None or order is None:
            return None  # the last word of a worker that was replaced meanwhile
        if kind == FAILED:
            raise UserError(parts[1].decode())
        if kind == FAULT:
            raise RuntimeError(f"a worker of the loader failed:\n{parts[1].decode()}")
        worker.silence = 0.0
        self._starts_left = self._wanted * (1 + FRUITLESS_STARTS)
        return order, Filled.unpack(parts[1])

    def _hand_out(self) -> None:
        """Give the workers their next orders, to those with the fewest first."""
        for held in range(AHEAD):
            for worker in self._workers:
                if worker.identity and not worker.stalled and len(worker.orders) == held and self._to_do:
                    if not worker.orders:
                        worker.silence = 0.0
                    order = self._to_do.popleft()
                    worker.orders[order.header.number] = order
                    self._socket.send_multipart([worker.identity, ORDER, order.header.pack(), order.records.tobytes()])


def start_process(address: str, descriptor: int) -> subprocess.Popen:
    """A fresh interpreter, so that it shares no lock or thread with the trainer's."""
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command("resnet.loader.worker"), address, str(descriptor), str(os.getpid())],
        pass_fds=(descriptor,),
        env=os.environ | one_thread,
    )
