"""How this package starts processes: how many, with which code, and that they end with the one that started them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # a container's own: microseconds per period, and the period
# They reach every process of a terminal, or of a job on a cluster, at once; the process that owns the others decides.
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PARENT = "RESNET_PARENT"  # environment: process id of the Luigi task; the stage ends when it does


def command(module: str) -> list[str]:
    """The command that runs a module of this package in a fresh interpreter.

    `python -m` would look in the current folder first, where a user may have a resnet.py or a folder of that name.
    """
    code = (
        "import runpy, sys; sys.path = [folder for folder in sys.path if folder]; "
        "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
    )
    return [sys.executable, "-c", code, module]


def cores() -> int:
    """How many cores this process may use: those it is bound to, or fewer where its container has a smaller quota."""
    bound = len(os.sched_getaffinity(0))
    try:
        quota, period = map(int, CPU_QUOTA.read_text(encoding="ascii").split())
    except (OSError, ValueError):  # no control groups (version 2), or the quota is "max"
        return bound
    return min(bound, max(round(quota / period), 1))


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Start a process in this block, and ENDING_SIGNALS do not reach it, from its first instruction on.

    A new process inherits the mask of the thread that starts it. In this thread the signals wait until the block ends.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unblock_signals() -> None:
    """Let the signals through that were blocked where this process was started; those that wait come at once."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)


def die_with_parent(parent: int, sign: int = signal.SIGKILL) -> None:
    """Have the kernel send this process `sign` when its parent, process `parent`, ends for whatever reason.

    Linux only; elsewhere this does nothing. It also notices a parent that ended before the call.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, sign, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), sign)


def keep_freed_memory() -> None:
    """Have malloc keep freed memory, for a process that decodes image after image.

    Otherwise glibc returns each image's memory to the kernel, which clears it for the next one: that took a fifth of
    the time of conversion. Without glibc this does nothing.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, 1 << 30)
