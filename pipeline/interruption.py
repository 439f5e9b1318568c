"""Ctrl-C ends `luigi` with one line. Imports nothing, so that it is in force before anything else is imported."""

from __future__ import annotations

import sys
from types import TracebackType


def is_interruption(error: BaseException | None) -> bool:
    """Whether Ctrl-C caused an error. While they are imported, some libraries turn it into an error of their own."""
    while error and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def show_exception(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """One line for Ctrl-C; everything else keeps its traceback."""
    if is_interruption(error):
        print("stopped; the same command continues from here", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)
