"""How far a stage is: a bar on a terminal, lines in a log file, and a line a second for the process that started it.

The Luigi task that starts a stage hands it a pipe (its descriptor in RESNET_PROGRESS_FD) and shows what comes through
it on the scheduler's page. Each line is a JSON object: {"fraction": 0.4, "message": "..."}, {"error": "..."}, or
{"checkpoint": 1200} for one that somebody has asked for.

For everybody else, a file in the stage's folder says the same (`keep_in`).
"""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tqdm import tqdm

from resnet.console import UNSHOWN
from resnet.files import temporary_name

logger = logging.getLogger(__name__)

ENVIRONMENT = "RESNET_PROGRESS_FD"
LINES = 10  # in a log file, from start to end
LINE_SECONDS = 5.0  # between them at least: work that is soon done needs none
# Short, so that the bar stays a bar at 80 columns. tqdm's own rate would turn into seconds below one a second.
BAR_COLUMNS = 53  # of the bar and its numbers, without notes, in a training of days
BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}, {remaining} left{postfix}"


PROGRESS = "progress.json"  # in the folder of a stage that runs or was interrupted

_is_silent = False
_kept_in: Path | None = None


@contextmanager
def keep_in(folder: Path) -> Iterator[None]:
    """In this block, a file of this folder says how far this process is: {"pid": 7, "host": "a", "time": "...",
    "fraction": 0.4, "message": "...", "seconds_left": 90.0}. It stays where the block ends with an error."""
    global _kept_in
    before, _kept_in = _kept_in, folder / PROGRESS
    _keep(None, "", None)
    try:
        yield
        with suppress(OSError):
            (folder / PROGRESS).unlink(missing_ok=True)
    finally:
        _kept_in = before


def _keep(fraction: float | None, message: str, seconds_left: float | None) -> None:
    """Write the file, if somebody wants one. Nothing depends on it, so what prevents it is no error."""
    if _kept_in is None:
        return
    content = {"pid": os.getpid(), "host": platform.node(), "time": datetime.now(timezone.utc).isoformat()}
    content |= {"fraction": fraction, "message": message, "seconds_left": seconds_left}
    temporary = temporary_name(_kept_in)
    try:
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8", errors="backslashreplace")
        temporary.replace(_kept_in)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def be_silent() -> None:
    """From now on, this process shows no progress: another one does."""
    global _is_silent
    _is_silent = True


class Progress:
    """A bar over `total` things, as a context manager. Without a terminal, it logs a line each tenth instead, or one
    every `line_seconds`. `is_preparation`: the stage's own work, whose fraction counts, comes after it."""

    def __init__(
        self,
        title: str,
        total: int,
        unit: str,
        *,
        done: int = 0,
        line_seconds: float | None = None,
        is_preparation: bool = False,
    ):
        self._is_preparation = is_preparation
        self._notes: tuple[str, ...] = ()
        self._title, self._total, self._unit, self._done = title, total, unit, done
        on_terminal = sys.stderr.isatty()
        self._has_bar, self._line_seconds = on_terminal, line_seconds
        self._bar: Any = tqdm(
            desc=title,
            total=total,
            initial=done,
            bar_format=BAR,
            mininterval=0.5,
            dynamic_ncols=True,
            leave=not is_preparation,
            disable=_is_silent or not on_terminal,
        )
        self._reported, self._logged = 0.0, time.monotonic()
        self._started, self._done_before = self._logged, done

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def advance(self, count: int = 1, *notes: str) -> None:
        """Count some more as done. `notes`: what to show beside the count until the next ones, the most important
        first. A bar shows as many of them as its terminal is wide."""
        before, self._done = self._done, self._done + count
        if notes:
            self._bar.set_postfix_str(_fitting(notes), refresh=False)
        self._bar.update(count)
        self._notes = notes or self._notes
        counted = f"{self._title}: {self._done:,} of {self._total:,} {self._unit}"
        text = ", ".join([counted, *self._notes, *self._time_left()])
        if self._is_line_due(before):
            self._logged = time.monotonic()
            logger.info("%s", text, extra=UNSHOWN if self._has_bar else {})
        if not _is_silent and (time.monotonic() - self._reported >= 1.0 or self._done >= self._total):
            self._reported = time.monotonic()
            fraction = None if self._is_preparation else self._done / max(self._total, 1)
            send_to_parent(**({} if fraction is None else {"fraction": fraction}), message=text)
            _keep(fraction, text, self._seconds_left())

    def _time_left(self) -> list[str]:
        seconds = self._seconds_left() or 0.0
        return [f"{time_text(seconds)} left"] if seconds >= 1 else []

    def _seconds_left(self) -> float | None:
        """At the pace so far; None where that is not known."""
        done, left = self._done - self._done_before, self._total - self._done
        return (time.monotonic() - self._started) * left / done if done else None

    def _is_line_due(self, before: int) -> bool:
        if _is_silent:
            return False
        passed = time.monotonic() - self._logged
        if self._line_seconds is not None:
            return passed >= self._line_seconds
        tenth, last = (LINES * done // max(self._total, 1) for done in (self._done, before))
        return tenth > last and passed >= LINE_SECONDS


def _fitting(notes: Sequence[str]) -> str:
    """The first of the notes, and as many of the others as leave room for the bar."""
    room = shutil.get_terminal_size().columns - BAR_COLUMNS
    shown = [note for number, note in enumerate(notes) if number == 0 or len(", ".join(notes[: number + 1])) <= room]
    return ", ".join(shown)


def send_to_parent(**news: Any) -> bool:
    """Send one line to the process that started this stage; returns whether it listens."""
    descriptor = os.environ.get(ENVIRONMENT)
    if descriptor is None:
        return False
    try:
        if "error" in news:
            os.set_blocking(int(descriptor), True)  # this one must arrive
        os.write(int(descriptor), (json.dumps(news) + "\n").encode())
    except BlockingIOError:  # nobody reads at the moment: drop this line and carry on
        pass
    except OSError:  # the listener has ended
        return False
    return True


def time_text(seconds: float) -> str:
    """A duration for people: "42 s", "3 min 05 s", "2 h 10 min"."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
