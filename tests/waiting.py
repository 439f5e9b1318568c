"""Waiting for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(is_so: Callable[[], object], seconds: float = 90.0) -> None:
    """Return as soon as it is so; it fails where that takes longer than any machine needs."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)
