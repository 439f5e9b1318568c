"""How this package starts processes: how many, of which code, and that they end with the one that started them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container, as it sees it: microseconds, and of how many
PARENT = "RESNET_PARENT"  # environment: the process id of the Luigi task that a stage is to end with


def command(module: str) -> list[str]:
    """What starts a fresh interpreter that runs a module of this package.

    `python -m` would look for it in the current folder first, where users have a resnet.py or a folder of that name.
    """
    code = (
        "import runpy, sys; sys.path = [folder for folder in sys.path if folder]; "
        "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
    )
    return [sys.executable, "-c", code, module]


def cores() -> int:
    """How many cores this process may use: those it is bound to, or fewer where its container's quota is less."""
    bound = len(os.sched_getaffinity(0))
    try:
        quota, period = map(int, CPU_QUOTA.read_text(encoding="ascii").split())
    except (OSError, ValueError):  # no control groups of version 2, or no quota: "max"
        return bound
    return min(bound, max(round(quota / period), 1))


def die_with_parent(parent: int, sign: int = signal.SIGKILL) -> None:
    """Have the kernel send this process `sign` when its parent, known to be `parent`, ends in whatever way.

    Linux only; elsewhere nothing happens. A parent that ended before this call is noticed too.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, sign, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), sign)


def keep_freed_memory() -> None:
    """Have malloc keep what is freed, for a process that decodes image after image.

    Otherwise glibc returns each image's memory to the kernel, which clears it for the next one: a fifth of the time of
    conversion. Elsewhere nothing happens.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, 1 << 30)
