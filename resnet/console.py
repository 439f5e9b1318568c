"""What a command says while it works: a line a message on standard error, above the progress bar if there is one.

Every module has a logger of its own name. A stage prints its result to standard output instead.
"""

from __future__ import annotations

import logging
import sys

from tqdm import tqdm


class _AboveTheBar(logging.Handler):
    """Writes to whatever `sys.stderr` is at the moment, and moves a progress bar there out of the way."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            tqdm.write(self.format(record), file=sys.stderr)
            sys.stderr.flush()
        except OSError:  # nobody reads any more: carry on
            pass


class _ByLevel(logging.Formatter):
    """The message alone, or "error: ...", or "warning: loader: ..." with the part of the package that warns."""

    def format(self, record: logging.LogRecord) -> str:
        if record.levelno >= logging.ERROR:
            return f"error: {record.getMessage()}"
        if record.levelno >= logging.WARNING:
            part = record.name.removeprefix("resnet.").removeprefix("stages.").split(".")[0]
            return f"warning: {part}: {record.getMessage()}"
        return record.getMessage()


def configure() -> None:
    """Show this package's messages on standard error, from INFO up. Calling it again changes nothing."""
    logger = logging.getLogger("resnet")
    handler = _AboveTheBar()
    handler.setFormatter(_ByLevel())
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False  # TensorFlow's absl puts a handler on the root logger
