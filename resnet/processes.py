"""How this package starts processes: how many, with which code, that they end with the one that started them, and how
much memory they took."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # a container's own: microseconds per period, and the period
# They reach every process of a terminal, or of a job on a cluster, at once; the process that owns the others decides.
# SIGUSR1 is the one that srun hands on to its tasks; on SIGTERM it kills them.
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
SAVING_SIGNAL = signal.SIGUSR2  # to a training: save a checkpoint, and go on
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


def become(program: list[str]) -> NoReturn:
    """Run another program in place of this process. It heeds ENDING_SIGNALS, and gets SIGUSR1 when the process that
    started it ends."""
    die_with_parent(int(os.environ.pop(PARENT)), signal.SIGUSR1)
    unblock_signals()
    os.execvp(program[0], program)


def keep_freed_memory() -> None:
    """Have malloc keep freed memory, for a process that decodes image after image.

    Otherwise glibc returns each image's memory to the kernel, which clears it for the next one: that took a fifth of
    the time of conversion. Without glibc this does nothing.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, 1 << 30)


class PeakMemory:
    """The most memory that this process and its workers have had so far, in bytes that were resident at a time. Memory
    that processes share counts in each of them."""

    largest_worker = 0  # of those that have ended

    @classmethod
    def note_worker(cls, process: int) -> None:
        """Look at a worker that is about to end."""
        cls.largest_worker = max(cls.largest_worker, _peak(process))

    @classmethod
    def facts(cls, gpu: int = 0) -> dict[str, int]:
        """What stage.json says of it. `gpu`: the most that was in use on a GPU; 0: there is none."""
        found = {"process": _peak(os.getpid()), "largest_worker": cls.largest_worker, "gpu": gpu}
        return {name: count for name, count in found.items() if count}


def _peak(process: int) -> int:
    """A process's peak, from its start on; 0 where that is not known.

    On Linux, getrusage would count what the process that started it had then: gigabytes of TensorFlow in a worker.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, ValueError, IndexError):  # it has ended, or this is no Linux
        pass
    if process != os.getpid():
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


if __name__ == "__main__":
    become(sys.argv[1:])
