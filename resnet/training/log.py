"""Writes the training log, and the same numbers for TensorBoard. `log_format` says what is in a line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO

import tensorflow as tf

from resnet.files import atomic
from resnet.training.log_format import read_log


class TrainingLog:
    """Append lines, after cutting off those of steps that a resumed training repeats.

    `is_validated`: whether the remaining lines have the validation after the last step done.
    """

    def __init__(self, folder: Path, steps_done: int):
        self.path = folder / "log.jsonl"
        kept = [line for line in read_log(self.path) if line["step"] <= steps_done]
        self.seconds_before = kept[-1]["seconds"] if kept else 0.0
        self.is_validated = any(line["step"] == steps_done and "validation_loss" in line for line in kept)
        with atomic(self.path, "w") as file:
            file.writelines(json.dumps(line) + "\n" for line in kept)
        self._file: IO[str] = open(self.path, "a", encoding="utf-8")  # noqa: SIM115
        self._board = tf.summary.create_file_writer(str(folder / "tensorboard"))

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, step: int, **numbers: float) -> None:
        """Append a line, and the same numbers for TensorBoard."""
        self._file.write(json.dumps({"step": step} | {name: _short(value) for name, value in numbers.items()}) + "\n")
        self._file.flush()
        with self._board.as_default(step):
            for name, value in numbers.items():
                tf.summary.scalar(name, value)

    def sync(self) -> None:
        """Make the lines so far outlive a crash: call it before the checkpoint that continues them."""
        os.fsync(self._file.fileno())
        self._board.flush()

    def close(self) -> None:
        self.sync()
        self._file.close()
        self._board.close()


def _short(value: float) -> float:
    return float(f"{value:.6g}")
