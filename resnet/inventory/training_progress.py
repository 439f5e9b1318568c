"""How far a training is, from its log."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from resnet.training.log_format import LogLines, read_outline

MOST_BYTES = 64 << 20  # of a log that is read; that of a long training has a few megabytes

# What a curve is of.
VALIDATION_ERROR = "validation error"  # in percent
TRAINING_LOSS = "training loss"


class Curve(NamedTuple):
    """What is drawn of a training, oldest first."""

    what: str  # VALIDATION_ERROR, or TRAINING_LOSS where nothing has been validated
    epochs: tuple[float, ...] = ()
    values: tuple[float, ...] = ()


class TrainingProgress(NamedTuple):
    """The state of a training by its log. Without a log everything is unknown."""

    epoch: float | None = None  # epochs of images seen, over all attempts
    seconds: float | None = None  # of training, over all attempts
    loss: float | None = None  # newest mean of training
    validation_error: float | None = None  # top-1, in percent, after the newest epoch that was validated
    curve: Curve = Curve(TRAINING_LOSS)
    written: datetime | None = None  # when the log was
    problem: str = ""


def read_progress(path: Path) -> TrainingProgress:
    """What the log at `path` says; a log that is too large or cannot be read is a `problem`."""
    try:
        status = path.stat()
        if status.st_size > MOST_BYTES:
            return TrainingProgress(problem=f"{path} is too large to show: {status.st_size >> 20:,} MB")
        lines = read_outline(path)
    except (FileNotFoundError, NotADirectoryError):
        return TrainingProgress()
    except OSError as error:
        return TrainingProgress(problem=f"{path} cannot be read: {error.strerror}")
    written = datetime.fromtimestamp(status.st_mtime, timezone.utc)
    unreadable = f"{path}: {lines.unreadable:,} of its lines cannot be read" if lines.unreadable else ""
    return _progress(lines)._replace(written=written, problem=unreadable)


def _progress(lines: LogLines) -> TrainingProgress:
    if not lines:
        return TrainingProgress()
    losses = [line for line in lines if "loss" in line]
    validated = [line for line in lines if "validation_top1_error" in line]
    curve = (
        _curve(VALIDATION_ERROR, validated, "validation_top1_error")
        if validated
        else _curve(TRAINING_LOSS, losses, "loss")
    )
    return TrainingProgress(
        epoch=_epoch(lines[-1]),
        seconds=lines[-1]["seconds"],
        loss=losses[-1]["loss"] if losses else None,
        validation_error=validated[-1]["validation_top1_error"] if validated else None,
        curve=curve,
    )


def _curve(what: str, lines: list[dict[str, float]], name: str) -> Curve:
    """A curve of the lines whose number is finite: a loss may be NaN."""
    points = [(_epoch(line), line[name]) for line in lines if math.isfinite(line[name])]
    return Curve(what, tuple(epoch for epoch, _ in points), tuple(value for _, value in points))


def _epoch(line: dict[str, float]) -> float:
    """Epochs that are over by a line. The last batch before a validation may reach a little into the next epoch."""
    return float(math.floor(line["epoch"])) if "validation_loss" in line else line["epoch"]
