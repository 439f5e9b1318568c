"""The training log: one JSON object a line, and the same for TensorBoard.

    {"step": 200, "epoch": 1.6, "loss": 1.2, "top1_error": 34.1, "top5_error": 3.3, "learning_rate": 0.1,
     "images_per_second": 690.0, "data_wait": 0.02, "seconds": 41.7}

Averages since the line before. Errors in percent; data_wait is the part of the time spent waiting for images; seconds
is the time that training took so far, over all attempts. Lines written after an epoch have "validation_..." instead.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO

import tensorflow as tf

from resnet.files import atomic


class TrainingLog:
    """Append lines; those of steps that a resumed training does again are cut off first."""

    def __init__(self, folder: Path, steps_done: int):
        self.path = folder / "log.jsonl"
        kept = [line for line in read_log(self.path) if line["step"] <= steps_done]
        self.seconds_before = kept[-1]["seconds"] if kept else 0.0
        with atomic(self.path, "w") as file:
            file.writelines(json.dumps(line) + "\n" for line in kept)
        self._file: IO[str] = open(self.path, "a", encoding="utf-8")  # noqa: SIM115: closed by close()
        self._board = tf.summary.create_file_writer(str(folder / "tensorboard"))

    def write(self, step: int, **numbers: float) -> None:
        self._file.write(json.dumps({"step": step} | {name: _short(value) for name, value in numbers.items()}) + "\n")
        self._file.flush()
        with self._board.as_default(step):
            for name, value in numbers.items():
                tf.summary.scalar(name, value)

    def sync(self) -> None:
        """Make sure that the lines so far outlive a crash: before the checkpoint that continues them."""
        os.fsync(self._file.fileno())
        self._board.flush()

    def close(self) -> None:
        self.sync()
        self._file.close()
        self._board.close()


def read_log(path: Path) -> list[dict[str, float]]:
    """The log's lines; a last line that was cut short by a crash is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def _short(value: float) -> float:
    return float(f"{value:.6g}")
