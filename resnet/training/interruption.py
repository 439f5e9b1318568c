"""Ctrl-C, SIGTERM, SIGHUP (the terminal is gone) and SIGUSR1 (from Slurm) during training: finish the step, save a
checkpoint, stop."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from resnet.console import say_in_signal_handler
from resnet.processes import ENDING_SIGNALS

SIGNALS = ENDING_SIGNALS


class Interruption:
    """Inside the block, the first signal only sets `requested`, and calls `on_request`, which must only set something
    too. On exit, the previous handlers are restored.

    A second Ctrl-C stops at once. A second SIGTERM or SIGHUP does not: after one to the whole process group, the kernel
    sends a SIGTERM when the parent ends. With `nohup`, SIGHUP stays ignored.
    """

    def __init__(self, on_request: Callable[[], None] = lambda: None) -> None:
        self.requested, self._on_request = False, on_request
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        for number in SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.requested:
            raise KeyboardInterrupt
        if not self.requested:
            self.requested = True
            self._on_request()
            say_in_signal_handler("training stops after this step and saves a checkpoint")
