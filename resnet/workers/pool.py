"""Worker processes, on the side of their owner: started, given jobs, watched, replaced.

What it promises: every job that is submitted is reported done once, or `WorkerPool.done` raises an error that says why.
- A worker that ends, for whatever reason, is replaced, and its jobs are given out again. A warning names its process,
  how it ended, and what it was at.
- So is one that makes no progress for `Work.stalled_seconds`: it answers nothing, and notes nothing (see
  `resnet.workers.journal`). It is killed first, so that it cannot write anything any more.
- Workers that keep ending before anything is finished, and a job that no worker survives, raise UserError.
- When the process that owns the pool ends, for whatever reason, its workers end, and nothing is left behind.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import zmq

from resnet.errors import Passing, UserError
from resnet.processes import PeakMemory, command, signals_blocked
from resnet.workers.address import bind, release
from resnet.workers.journal import Journal
from resnet.workers.messages import AWAY, DONE, FAILED, FAULT, HELLO, JOB, NOTE, SETUP

MAX_RESTARTS = 3  # times that each worker may be restarted before anything is finished
MAX_DEATHS = 3  # workers that one job may cost
POLL_SECONDS = 0.2  # how often the workers are checked
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class Work(NamedTuple):
    """What the workers of a pool do, and how messages speak of it."""

    name: str  # whose workers they are: "the loader"
    module: str  # that a worker runs; it calls `resnet.workers.process.serve`
    setup: Sequence[bytes]  # what all jobs have in common: each worker gets it once
    describe: Callable[[Sequence[bytes]], str]  # a job by its parts, for a worker that died before it noted anything
    remedy: str  # what to do when workers do not survive
    stalled_seconds: float  # a worker without progress for so long is replaced
    ahead: int = 1  # jobs that a worker has at a time; with two it never waits for the next
    descriptors: Sequence[int] = ()  # files that the workers inherit, under the same numbers


@dataclass(eq=False)
class Job:
    """Something to do."""

    number: int
    parts: Sequence[bytes]
    deaths: int = 0  # workers that ended while working on it


@dataclass(eq=False)
class WorkerProcess:
    """A worker as the pool sees it."""

    process: subprocess.Popen
    row: int  # of the journal
    identity: bytes = b""  # ZeroMQ's name of it, known from its first message
    jobs: dict[int, Job] = field(default_factory=dict)  # by number, in the order that they were given
    silence: float = 0.0  # seconds since it last made progress, or was given a job while idle
    notes: int = 0  # that it had made when it was last checked
    stalled: bool = False


class WorkerPool:
    """A context manager that ends the workers. All calls come from one thread."""

    def __init__(self, workers: int, work: Work):
        self.workers: list[WorkerProcess] = []
        self._wanted, self._work = workers, work
        self._logger = logging.getLogger(work.module)  # so that a warning names the part of the package
        self._waiting: deque[Job] = deque()
        self._submitted = 0
        self._starts_left = workers * (1 + MAX_RESTARTS)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        try:
            self._address = bind(self._socket)
        except UserError:
            self._context.destroy()
            raise
        self._journal = Journal.of(workers)
        self._checked = 0.0

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, parts: Sequence[bytes]) -> int:
        """Have a job done; returns its number."""
        self._submitted += 1
        self._waiting.append(Job(self._submitted, parts))
        return self._submitted

    def done(self, wake: int | None = None) -> Iterator[tuple[int, Sequence[bytes]]]:
        """Wait a moment, or until the pipe `wake` can be read; yield the jobs done meanwhile, and their results."""
        self._check_workers()
        self._hand_out()
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        if wake is not None:
            poller.register(wake, zmq.POLLIN)
        if wake in dict(poller.poll(round(POLL_SECONDS * 1000))) and wake is not None:
            os.read(wake, 4096)
        while self._socket.poll(0):
            if answer := self._receive(*self._socket.recv_multipart()):
                yield answer
        self._hand_out()

    def close(self) -> None:
        """End the workers, whatever they are at."""
        for worker in self.workers:
            PeakMemory.note_worker(worker.process.pid)
            worker.process.kill()
        for worker in self.workers:
            worker.process.wait()
        self._context.destroy()
        release(self._address)
        self._journal.close()

    def _check_workers(self) -> None:
        now = time.monotonic()
        passed = now - self._checked
        if passed < POLL_SECONDS:
            return
        self._checked = now
        for worker in list(self.workers):
            if worker.process.poll() is not None:
                self._remove(worker)
                continue
            # A computer that was asleep, or an owner that was stopped, must not blame that time on its workers.
            worker.silence += min(passed, 2 * POLL_SECONDS)
            if (notes := self._journal.count(worker.row)) != worker.notes:
                worker.notes, worker.silence = notes, 0.0
            is_busy = worker.jobs or not worker.identity  # or starting
            if is_busy and worker.silence > self._work.stalled_seconds and not worker.stalled:
                worker.stalled = True
                worker.process.kill()  # and removed when it has ended, which a hanging disk may delay
        while len(self.workers) < self._wanted:
            self._start_worker()

    def _remove(self, worker: WorkerProcess) -> None:
        """Take back the jobs of a worker that ended. It was working on the first of them."""
        self.workers.remove(worker)
        how = f"was stuck for {self._work.stalled_seconds:.0f} s" if worker.stalled else _ending(worker.process)
        at = ""
        if jobs := list(worker.jobs.values()):
            at = self._journal.last(worker.row) or self._work.describe(jobs[0].parts)
            jobs[0].deaths += 1
            if jobs[0].deaths == MAX_DEATHS:
                raise UserError(
                    f"{MAX_DEATHS} workers of {self._work.name} did not survive the same work, the last one (process "
                    f"{worker.process.pid}) {how} at {at}. {self._work.remedy}"
                )
            self._waiting.extendleft(reversed(jobs))
        where = f" at {at}" if at else ""
        is_replaced = self._starts_left >= self._wanted - len(self.workers)
        what_next = "; another takes its place" if is_replaced else ""
        self._logger.warning("worker %d %s%s%s", worker.process.pid, how, where, what_next)

    def _start_worker(self) -> None:
        if self._starts_left == 0:
            raise UserError(
                f"the workers of {self._work.name} keep ending before they finish anything ({self._wanted} workers, "
                f"{1 + MAX_RESTARTS} starts each): see the messages above. {self._work.remedy}"
            )
        self._starts_left -= 1
        row = min(set(range(self._wanted)) - {worker.row for worker in self.workers})
        self._journal.write(row, "")
        arguments = [self._address, *map(str, (os.getpid(), row, self._journal.descriptor))]
        with signals_blocked():  # an interruption cannot lose a worker between its start and the list
            process = subprocess.Popen(
                [*command(self._work.module), *arguments],
                pass_fds=(self._journal.descriptor, *self._work.descriptors),
                env=os.environ | ONE_THREAD,
            )
            self.workers.append(WorkerProcess(process, row, notes=self._journal.count(row)))

    def _receive(self, identity: bytes, kind: bytes, *parts: bytes) -> tuple[int, Sequence[bytes]] | None:
        if kind == HELLO:
            for newcomer in self.workers:
                if newcomer.process.pid == int(parts[0]):
                    newcomer.identity = identity
                    self._socket.send_multipart([identity, SETUP, *self._work.setup])
            return None
        worker = next((worker for worker in self.workers if worker.identity == identity), None)
        if worker is None:
            return None  # the last message of a worker that was replaced meanwhile
        worker.silence = 0.0
        if kind == NOTE:
            self._logger.warning("%s", parts[0].decode())
        elif kind == FAULT:
            raise RuntimeError(f"a worker of {self._work.name} failed:\n{parts[1].decode()}")
        elif kind in (FAILED, AWAY):
            raise (Passing if kind == AWAY else UserError)(parts[1].decode())
        elif kind == DONE:
            self._starts_left = self._wanted * (1 + MAX_RESTARTS)
            number = int(parts[0])
            del worker.jobs[number]
            return number, parts[1:]
        return None

    def _hand_out(self) -> None:
        """Give the workers their next jobs, first those with the fewest."""
        for count in range(self._work.ahead):
            for worker in self.workers:
                if worker.identity and not worker.stalled and len(worker.jobs) == count and self._waiting:
                    if not worker.jobs:
                        worker.silence = 0.0
                    job = self._waiting.popleft()
                    worker.jobs[job.number] = job
                    self._socket.send_multipart([worker.identity, JOB, str(job.number).encode(), *job.parts])


def _ending(process: subprocess.Popen) -> str:
    code = process.returncode
    return f"ended with exit code {code}" if code >= 0 else f"was ended by signal {-code} ({signal.strsignal(-code)})"
