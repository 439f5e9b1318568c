"""The loader's worker processes: started, given jobs, watched, replaced.

What it promises: every job that is submitted is reported done once, or `WorkerPool.done` raises an error that says why.
- A worker that ends, for whatever reason, is replaced, and its jobs are given out again.
- So is one that makes no progress for STALLED_SECONDS. It is killed first, so that it cannot write to a slot any more.
- Workers that keep ending before anything is finished, and a job that no worker survives, raise UserError.
- When the process that owns the pool ends, for whatever reason, its workers end.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import zmq

from resnet.errors import UserError
from resnet.loader.messages import FAILED, FAULT, HELLO, JOB, SETUP, Filled, JobHeader, Setup
from resnet.processes import command

logger = logging.getLogger(__name__)

AHEAD = 2  # jobs that a worker has at a time, so that it never waits for the next
MAX_RESTARTS = 3  # times that each worker may be restarted before anything is finished
MAX_DEATHS = 3  # workers that one job may cost
POLL_SECONDS = 0.2  # how often the workers are checked
STALLED_SECONDS = 60.0  # a worker without an answer for so long is replaced: a job is some 40 ms of work


@dataclass(eq=False)
class Job:
    """Rows of a slot to fill."""

    header: JobHeader
    records: np.ndarray  # RECORD_TYPE [n]
    deaths: int = 0  # workers that ended while working on it


@dataclass(eq=False)
class WorkerProcess:
    """A worker as the pool sees it."""

    process: subprocess.Popen
    identity: bytes = b""  # ZeroMQ's name of it, known from its first message
    jobs: dict[int, Job] = field(default_factory=dict)  # by number, in the order that they were given
    silence: float = 0.0  # seconds since it last answered, or was given a job while idle
    stalled: bool = False


class WorkerPool:
    """`describe` says where a job's records are, for messages. All calls come from one thread."""

    def __init__(self, workers: int, setup: Setup, descriptor: int, describe: Callable[[Job], str]):
        self.workers: list[WorkerProcess] = []
        self.folder = Path(tempfile.mkdtemp(prefix="resnet-loader-"))  # private to this user: mode 0700
        self._wanted, self._setup, self._descriptor, self._describe = workers, setup, descriptor, describe
        self._waiting: deque[Job] = deque()
        self._starts_left = workers * (1 + MAX_RESTARTS)
        self._address = f"ipc://{self.folder}/jobs"
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        try:
            self._socket.bind(self._address)
        except zmq.ZMQError as error:  # the path of a socket has 107 characters at most
            raise UserError(f"no socket can be made in {self.folder}: {error}. Set TMPDIR to a shorter path.") from None
        self._checked = 0.0

    def submit(self, job: Job) -> None:
        self._waiting.append(job)

    def done(self, wake: int) -> Iterator[tuple[Job, Filled]]:
        """Wait a moment, or until the pipe `wake` can be read; yield the jobs that were done meanwhile."""
        self._check_workers()
        self._hand_out()
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(wake, zmq.POLLIN)
        if wake in dict(poller.poll(round(POLL_SECONDS * 1000))):
            os.read(wake, 4096)
        while self._socket.poll(0):
            if answer := self._receive(*self._socket.recv_multipart()):
                yield answer
        self._hand_out()

    def close(self) -> None:
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.process.wait()
        self._socket.close(linger=0)
        self._context.term()
        shutil.rmtree(self.folder, ignore_errors=True)

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
            # A computer that was asleep, or a trainer that was stopped, must not blame that time on its workers.
            worker.silence += min(passed, 2 * POLL_SECONDS)
            is_busy = worker.jobs or not worker.identity  # or starting
            if is_busy and worker.silence > STALLED_SECONDS and not worker.stalled:
                worker.stalled = True
                worker.process.kill()  # and removed when it has ended, which a hanging disk may delay
        while len(self.workers) < self._wanted:
            self._start_worker()

    def _remove(self, worker: WorkerProcess) -> None:
        """Take back the jobs of a worker that ended. It was working on the first of them."""
        self.workers.remove(worker)
        code = worker.process.returncode
        what = f"was stuck for {STALLED_SECONDS:.0f} s" if worker.stalled else f"ended (exit code {code})"
        if jobs := list(worker.jobs.values()):
            jobs[0].deaths += 1
            if jobs[0].deaths == MAX_DEATHS:
                raise UserError(
                    f"{MAX_DEATHS} workers of the loader did not survive the same images, the last one {what}: "
                    f"{self._describe(jobs[0])}. Check the disk that they are on, and the free memory."
                )
            self._waiting.extendleft(reversed(jobs))
        logger.warning("a worker %s and is replaced", what)

    def _start_worker(self) -> None:
        if self._starts_left == 0:
            raise UserError(
                f"the loader's workers keep ending before they finish anything ({self._wanted} workers, "
                f"{1 + MAX_RESTARTS} starts each): see their messages above, and check the free memory"
            )
        self._starts_left -= 1
        self.workers.append(WorkerProcess(start_process(self._address, self._descriptor)))

    def _receive(self, identity: bytes, kind: bytes, *parts: bytes) -> tuple[Job, Filled] | None:
        if kind == HELLO:
            for newcomer in self.workers:
                if newcomer.process.pid == int(parts[0]):
                    newcomer.identity = identity
                    self._socket.send_multipart([identity, SETUP, self._setup.pack()])
            return None
        worker = next((worker for worker in self.workers if worker.identity == identity), None)
        job = worker.jobs.pop(JobHeader.unpack(parts[0]).number, None) if worker else None
        if worker is None or job is None:
            return None  # the last message of a worker that was replaced meanwhile
        if kind == FAILED:
            raise UserError(parts[1].decode())
        if kind == FAULT:
            raise RuntimeError(f"a worker of the loader failed:\n{parts[1].decode()}")
        worker.silence = 0.0
        self._starts_left = self._wanted * (1 + MAX_RESTARTS)
        return job, Filled.unpack(parts[1])

    def _hand_out(self) -> None:
        """Give the workers their next jobs, first those with the fewest."""
        for count in range(AHEAD):
            for worker in self.workers:
                if worker.identity and not worker.stalled and len(worker.jobs) == count and self._waiting:
                    if not worker.jobs:
                        worker.silence = 0.0
                    job = self._waiting.popleft()
                    worker.jobs[job.header.number] = job
                    self._socket.send_multipart([worker.identity, JOB, job.header.pack(), job.records.tobytes()])


def start_process(address: str, descriptor: int) -> subprocess.Popen:
    """A fresh interpreter, so that it shares no lock or thread with the trainer's."""
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command("resnet.loader.worker"), address, str(descriptor), str(os.getpid())],
        pass_fds=(descriptor,),
        env=os.environ | one_thread,
    )
