"""Memory that several processes share: a file without a name.

No other process can find it, Docker's 64 MB limit on /dev/shm does not apply, and the kernel frees it when the last
process that uses it ends, for whatever reason.
"""

from __future__ import annotations

import os
import tempfile


def unnamed_file(size: int) -> int:
    """The descriptor of a file of `size` zero bytes, in memory where the system can do that. It can be mapped."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("resnet", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor
