"""Ctrl-C and a mistyped task end `luigi` with one line. Imports nothing that takes time: it comes before all else."""

from __future__ import annotations

import os
import sys
from types import TracebackType

from resnet.errors import is_interruption

TASKS = "FullRun, Status, Rerun, ConvertRecords, Train, BatchNormStatistics, Evaluate, Report"
SCHEDULING_ERROR = 35  # as [retcode] in luigi.cfg


def show_exception(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """One line for Ctrl-C, and for the name of a task that there is not; everything else keeps its traceback."""
    if is_interruption(error):
        print("stopped; the same command continues from here", file=sys.stderr)
    elif kind.__name__ == "TaskClassNotFoundException":
        what, *nearest = str(error).split()[2].rstrip("."), *str(error).splitlines()[1:]
        meant = [name for name in nearest if name[:1].isupper()]  # the others are sections of the configuration
        question = f"; did you mean {meant[0]}?" if meant else "."
        print(f"error: there is no task {what}{question} The tasks: {TASKS}", file=sys.stderr, flush=True)
        os._exit(SCHEDULING_ERROR)
    else:
        sys.__excepthook__(kind, error, traceback)
