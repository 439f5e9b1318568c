"""What a worker process does: it connects to its owner, gets what all jobs have in common, then does job after job.

It is started fresh (never forked: OpenCV can deadlock after a fork), with SIGINT, SIGTERM and SIGHUP blocked by
`resnet.processes.signals_blocked`: they reach every process of a terminal, and its owner decides when to stop. When the
owner ends, for whatever reason, the kernel ends the worker. It keeps no state between jobs, so any worker can do any
job, twice if need be.
"""

from __future__ import annotations

import gc
import os
import sys
import traceback
from collections.abc import Callable, Sequence

import zmq

from resnet.errors import Passing, UserError
from resnet.processes import die_with_parent
from resnet.workers.journal import Journal
from resnet.workers.messages import AWAY, DONE, FAILED, FAULT, HELLO, JOB, NOTE, SETUP, text

POLL_MILLISECONDS = 1000

Serve = Callable[[Sequence[bytes]], Sequence[bytes]]  # from a job's parts to its result's


class Owner:
    """What a worker can tell its owner while it works on a job."""

    def __init__(self, socket: zmq.Socket, journal: Journal, row: int):
        self._socket, self._journal, self._row = socket, journal, row

    def at(self, what: str) -> None:
        """Say what the worker is at, such as an image's name. This counts as progress, and is named if it dies."""
        self._journal.write(self._row, what)

    def warn(self, words: str) -> None:
        """Have the owner show a warning. This counts as progress too."""
        self._socket.send_multipart([NOTE, text(words)])


def serve(begin: Callable[[Sequence[bytes], Owner], Serve]) -> None:
    """Do jobs until the owner ends. `begin` gets the setup, and returns the function that does a job.

    That function raises UserError for a job that no worker could do.
    """
    address, (parent, row, descriptor) = sys.argv[1], map(int, sys.argv[2:5])
    die_with_parent(parent)
    socket = zmq.Context().socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)  # do not wait, at exit, for an owner that has ended
    socket.connect(address)
    owner = Owner(socket, Journal(descriptor), row)
    gc.freeze()  # what was imported stays: the collector need not look through it again and again
    socket.send_multipart([HELLO, str(os.getpid()).encode()])
    do: Serve | None = None
    while True:
        while not socket.poll(POLL_MILLISECONDS):
            if os.getppid() != parent:  # where the kernel does not say that the parent ended
                return
        kind, *parts = socket.recv_multipart()
        if kind == SETUP:
            try:
                do = begin(parts, owner)
            except Exception:
                socket.send_multipart([FAULT, b"", text(traceback.format_exc())])
        elif kind == JOB and do is not None:
            answer = _answer(do, *parts)
            owner.at("")
            socket.send_multipart(answer)


def _answer(do: Serve, number: bytes, *parts: bytes) -> Sequence[bytes]:
    try:
        return [DONE, number, *do(parts)]
    except UserError as error:
        return [AWAY if isinstance(error, Passing) else FAILED, number, text(str(error))]
    except Exception:
        return [FAULT, number, text(traceback.format_exc())]
