"""Ctrl-C ends `luigi` with one line. Imports nothing that takes time: it is in force before all else is imported."""

from __future__ import annotations

import sys
from types import TracebackType

from resnet.errors import is_interruption


def show_exception(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """One line for Ctrl-C; everything else keeps its traceback."""
    if is_interruption(error):
        print("stopped; the same command continues from here", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)
