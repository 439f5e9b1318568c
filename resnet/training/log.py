"""Writes the training log, and the same numbers for TensorBoard. `log_format` says what is in a line.

A log never stops a training: what cannot be read or written is reported, once for each reason.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from resnet.files import atomic
from resnet.training.board import Board
from resnet.training.log_format import LogLines, read_log

logger = logging.getLogger(__name__)


class TrainingLog:
    """Append lines, after cutting off those of steps that a resumed training repeats.

    `is_validated`: whether the remaining lines have the validation after the last step done.
    """

    def __init__(self, folder: Path, steps_done: int):
        self.path = folder / "log.jsonl"
        self._pending = b""  # what could not be written yet
        self._reported: set[str] = set()
        kept: list[dict[str, float]] = []
        with self._without_stopping(self.path):
            lines = read_log(self.path)
            kept = [line for line in lines if line["step"] <= steps_done]
            self._replace(lines, kept)
        self.seconds_before = kept[-1]["seconds"] if kept else 0.0
        self.is_validated = any(line["step"] == steps_done and "validation_loss" in line for line in kept)
        self.board = Board(folder / "tensorboard", self._without_stopping)

    def _replace(self, lines: LogLines, kept: list[dict[str, float]]) -> None:
        if lines.unreadable:
            logger.warning("%d lines of %s cannot be read; they are left out", lines.unreadable, self.path)
        with atomic(self.path, "w") as file:
            file.writelines(json.dumps(line) + "\n" for line in kept)

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, step: int, **numbers: float) -> None:
        """Append a line, and the same numbers for TensorBoard."""
        line = {"step": step} | {name: _short(value) for name, value in numbers.items()}
        self._pending += json.dumps(line).encode() + b"\n"
        self._write_pending()
        self.board.numbers(step, numbers)

    def _write_pending(self, *, sync: bool = False) -> None:
        with self._without_stopping(self.path), open(self.path, "ab", buffering=0) as file:
            while self._pending:  # a full disk takes a part
                self._pending = self._pending[file.write(self._pending) :]
            if sync:
                os.fsync(file.fileno())

    def sync(self) -> None:
        """Make the lines so far outlive a crash: call it before the checkpoint that continues them."""
        self._write_pending(sync=True)
        self.board.flush()

    def close(self) -> None:
        self.sync()
        self.board.close()

    @contextlib.contextmanager
    def _without_stopping(self, what: object) -> Iterator[None]:
        """Report an error of the disk, unless it has been reported before."""
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            message = f"{what}: {_reason(error)}; training goes on"
            if message not in self._reported:
                self._reported.add(message)
                logger.warning("%s", message)


class NoLog(TrainingLog):
    """Of a host that leaves the writing to the chief, whose log says whether the last epoch `is_validated`."""

    def __init__(self, is_validated: bool):
        self.is_validated, self.seconds_before = is_validated, 0.0

    def write(self, step: int, **numbers: float) -> None:
        pass

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass


def _reason(error: OSError | tf.errors.OpError) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    # "{{function_node ...}} No space left on device [Op:WriteSummary]"
    return error.message.split("}} ")[-1].split(" [Op:")[0].split("\n")[0]


def _short(value: float) -> float:
    return float(f"{value:.6g}")
