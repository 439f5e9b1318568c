"""Ctrl-C and SIGTERM during training: finish the step, save a checkpoint, stop."""

from __future__ import annotations

import logging
import signal
from types import FrameType
from typing import Any

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Inside the block, the first signal only sets `requested`. On exit, the previous handlers are restored.

    A second Ctrl-C stops at once. A second SIGTERM does not: after one to the whole process group, the kernel sends
    another when the parent ends.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        for number in SIGNALS:
            self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.requested:
            raise KeyboardInterrupt
        if not self.requested:
            self.requested = True  # first of all: what follows may fail
            logger.info("training stops after this step and saves a checkpoint")
