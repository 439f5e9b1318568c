"""What an attempt at a stage says, in a file of its own: each line with its time.

That is what goes to standard output, every message, and the progress, as lines. What libraries of other languages print
by themselves goes to the terminal only.
"""

from __future__ import annotations

import codecs
import contextlib
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TextIO

from resnet import console
from resnet.errors import UserError

logger = logging.getLogger(__name__)

ERROR = "error: "  # how the line begins that an attempt ends with, if it fails
FURTHER = "  "  # how its other lines begin
MOST_OF_AN_ERROR = 30  # lines


class StageLog(logging.Handler):
    """Collects from `start` to `close`. A file that cannot be written is one warning, and no reason to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.path: Path | None = None
        self._file: TextIO | None = None
        self._rest = ""  # of standard output, without the end of its line
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self.setFormatter(console.ByLevel())

    def start(self, path: Path) -> None:
        """Write to this file from now on, after what it has."""
        self.path = path
        try:
            self._file = path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
        except OSError as error:
            self._give_up(error)
            return
        logging.getLogger("resnet").addHandler(self)
        console.copy_output(self._take)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message."""
        self.write(self.format(record))

    def close(self) -> None:
        """Write to it no more."""
        super().close()
        logging.getLogger("resnet").removeHandler(self)
        sys.stdout.flush()
        console.copy_output(None)
        if self._rest:
            self.write(self._rest)
        if self._file:
            with contextlib.suppress(OSError):
                self._file.close()
        self._file, self._rest = None, ""

    def _take(self, output: bytes) -> None:
        *lines, self._rest = (self._rest + self._decoder.decode(output)).split("\n")
        for line in lines:
            self.write(line)

    def write(self, text: str) -> None:
        """Write some lines, as soon as the log is started."""
        time = datetime.now().isoformat(" ", "seconds")
        try:
            if self._file:
                self._file.writelines(f"{time}  {line}\n" for line in text.splitlines())
        except OSError as error:
            self._file = None  # before the warning, which comes here too
            self._give_up(error)

    def write_error(self, text: str) -> None:
        """Write the error that the attempt ends with."""
        self.write(f"{ERROR}{text}".replace("\n", f"\n{FURTHER}"))

    def _give_up(self, error: OSError) -> None:
        logger.warning("%s cannot be written, and ends here: %s", self.path, error.strerror)


@contextlib.contextmanager
def stage_log() -> Iterator[StageLog]:
    """A log to be started in this block. It ends with the error that the block ends with, if it does."""
    log = StageLog()
    try:
        yield log
    except UserError as error:
        log.write_error(str(error))
        raise
    except KeyboardInterrupt:
        log.write("interrupted")
        raise
    except BaseException as error:
        log.write(traceback.format_exc())
        log.write_error("".join(traceback.format_exception_only(error)).strip())
        raise
    finally:
        log.close()


def log_path(folder: Path, attempt: int) -> Path:
    """The log of an attempt, counted from 1, in its stage's folder."""
    return folder / f"log-{attempt}.txt"


def is_log(path: Path) -> bool:
    """Whether a file is the log of an attempt, by its name."""
    return re.fullmatch(r"log-\d+\.txt", path.name) is not None


def newest_log(folder: Path) -> Path | None:
    """The log of the newest attempt that has one."""
    numbers = [int(path.stem.partition("-")[2]) for path in folder.glob("log-*.txt") if is_log(path)]
    return log_path(folder, max(numbers)) if numbers else None


def last_error(path: Path | None) -> str:
    """The first line of the error that an attempt ended with; empty where it ended otherwise, or has no log."""
    lines = last_lines(path, MOST_OF_AN_ERROR) if path else []
    ends = next((line for line in reversed(lines) if not line.startswith(FURTHER)), "")
    return ends.removeprefix(ERROR) if ends.startswith(ERROR) else ""


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a log, without their times; none where it cannot be read."""
    try:
        with open(path, "rb") as file:
            start = max(file.seek(0, os.SEEK_END) - 400 * count, 0)
            file.seek(start)
            lines = file.read().decode(errors="replace").splitlines()[1 if start else 0 :]  # the first one is cut
    except OSError:
        return []
    return [line[21:] for line in lines[-count:]]
