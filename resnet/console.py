"""What a command says while it works: a line a message on standard error, above the progress bar if there is one.

Every module has a logger of its own name. A stage prints its result to standard output instead.

Work never ends because nobody can read about it: `configure` replaces standard output and standard error by streams
that drop what cannot be written, to a pipe whose reader has ended, a closed terminal, or a log file on a full disk.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

from tqdm import tqdm

UNSHOWN = {"is_shown": False}  # `extra` of a message that the user sees in another way: only logs have it


class _Dropping(io.RawIOBase):
    """Writes to a file descriptor. What cannot be written is dropped, so that no layer above keeps it or fails.

    `error`: why the last of it was dropped. `copy`: who gets all of it, too.
    """

    def __init__(self, descriptor: int, name: str):
        self._descriptor, self.name = descriptor, name
        self.error: OSError | None = None
        self.copy: Callable[[bytes], None] | None = None

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        if self.copy:
            self.copy(bytes(data))
        try:
            return os.write(self._descriptor, data)
        except OSError as error:
            self.error = error
            return len(data)


def dropping(stream: TextIO | None) -> TextIO:
    """A stream to the same file that drops what cannot be written. None is what Python has for a closed file."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    try:
        stream.flush()
    except OSError:
        pass
    raw: io.RawIOBase = _Dropping(stream.fileno(), stream.name)
    errors = "surrogateescape" if stream.errors == "strict" else stream.errors  # names of files are any bytes
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=stream.encoding, errors=errors, line_buffering=True)


class _AboveTheBar(logging.Handler):
    """Writes to whatever `sys.stderr` is at the moment, and moves a progress bar there out of the way."""

    def emit(self, record: logging.LogRecord) -> None:
        if not getattr(record, "is_shown", True):
            return
        tqdm.write(self.format(record), file=sys.stderr)
        sys.stderr.flush()


class ByLevel(logging.Formatter):
    """The message alone, or "error: ...", or "warning: loader: ..." with the part of the package that warns."""

    def format(self, record: logging.LogRecord) -> str:
        if record.levelno >= logging.ERROR:
            return f"error: {record.getMessage()}"
        if record.levelno >= logging.WARNING:
            part = record.name.removeprefix("resnet.").removeprefix("stages.").split(".")[0]
            return f"warning: {part}: {record.getMessage()}"
        return record.getMessage()


def configure() -> None:
    """Show this package's messages on standard error, from INFO up, and drop what cannot be written.

    Calling it again changes nothing.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # Only the process's own streams: pytest puts others in their place.
        if stream is getattr(sys, f"__{name}__") and not isinstance(_raw(stream), _Dropping):
            setattr(sys, name, dropping(stream))
            setattr(sys, f"__{name}__", getattr(sys, name))  # the interpreter flushes this one at its end
    logger = logging.getLogger("resnet")
    handler = _AboveTheBar()
    handler.setFormatter(ByLevel())
    logger.handlers = [handler, *(other for other in logger.handlers if not isinstance(other, _AboveTheBar))]
    logger.setLevel(logging.INFO)
    logger.propagate = False  # TensorFlow's absl puts a handler on the root logger


def copy_output(take: Callable[[bytes], None] | None) -> None:
    """Give `take` a copy of all that goes to standard output from now on; None: to nobody."""
    if isinstance(raw := _raw(sys.stdout), _Dropping):
        raw.copy = take


def require_output() -> bool:
    """Raise OSError if standard output is what a command makes, and some of it could not be written.

    A reader that has read enough (`| head`) is no error. Returns whether somebody still reads.
    """
    sys.stdout.flush()
    error = _output_error()
    if error and error.errno != errno.EPIPE:
        raise OSError(error.errno, error.strerror, "standard output")
    return error is None


def reader_has_ended() -> bool:
    """Whether standard output was a pipe, and its reader has read enough."""
    error = _output_error()
    return error is not None and error.errno == errno.EPIPE


def _output_error() -> OSError | None:
    return getattr(_raw(sys.stdout), "error", None)


def say_in_signal_handler(text: str) -> None:
    """Write a line past buffers and locks, which the interrupted code may be in the middle of."""
    if sys.__stderr__ is None:
        return
    descriptor = sys.__stderr__.fileno()
    start = "\n" if os.isatty(descriptor) else ""  # below the progress bar
    try:
        os.write(descriptor, f"{start}{text}\n".encode())
    except OSError:
        pass


def _raw(stream: TextIO | None) -> object:
    return getattr(getattr(stream, "buffer", None), "raw", None)
