"""SIGUSR2 during training: save a checkpoint after this step, and go on."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from resnet.processes import SAVING_SIGNAL


class SavingOnDemand:
    """Inside the block, the signal asks for a checkpoint; `taken` says once whether it has. On exit, the handler before
    is restored, which ignores the signal."""

    def __init__(self) -> None:
        self._is_asked_for = False
        self._before: Any = signal.SIG_IGN

    def __enter__(self) -> SavingOnDemand:
        self._before = signal.signal(SAVING_SIGNAL, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(SAVING_SIGNAL, self._before)

    def taken(self) -> bool:
        """Whether a checkpoint was asked for since the last call."""
        asked, self._is_asked_for = self._is_asked_for, False
        return asked

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._is_asked_for = True
