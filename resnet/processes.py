"""Processes that end with the one that started them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
PARENT = "RESNET_PARENT"  # environment: the process id of the Luigi task that a stage is to end with


def die_with_parent(parent: int, sign: int = signal.SIGKILL) -> None:
    """Have the kernel send this process `sign` when its parent, known to be `parent`, ends in whatever way.

    Linux only; elsewhere nothing happens. A parent that ended before this call is noticed too.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, sign, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), sign)
