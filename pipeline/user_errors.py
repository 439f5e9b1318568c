"""Errors of the user reach the console as one message: Luigi alone would print a traceback for each."""

from __future__ import annotations

import logging
import sys
from types import TracebackType
from typing import NoReturn

from luigi.retcodes import retcode

from resnet.errors import UserError


class _WithoutTraceback(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if str(record.msg).startswith("Data for %s does not exist"):
            return False  # pipeline.tasks.Images has said what is missing, and where it was looked for
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, UserError):
            task = record.args[-1] if isinstance(record.args, tuple) and record.args else None
            family = getattr(task, "task_family", "pipeline")
            record.msg, record.args, record.exc_info = f"{family} failed: {error}", (), None
        return True


def _quietly_stopped(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if kind is KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = _quietly_stopped
logging.getLogger("luigi-interface").addFilter(_WithoutTraceback())


def stop(message: str) -> NoReturn:
    """End `luigi` before anything is scheduled."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(retcode().scheduling_error)
