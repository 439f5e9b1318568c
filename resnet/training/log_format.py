"""The training log on disk: one JSON object a line.

    {"step": 200, "epoch": 1.6, "loss": 1.2, "top1_error": 34.1, "top5_error": 3.3, "gradient_norm": 0.8,
     "learning_rate": 0.1, "images_per_second": 690.0, "data_wait": 0.02, "seconds": 41.7}

Numbers are averages since the line before. Errors are in percent; gradient_norm is that of all averaged gradients
together, before they are clipped; data_wait is the fraction of the time spent waiting
for images (a GPU may be busy with the step before meanwhile); seconds is the training time so far, over all attempts.
In float16 there are also loss_scale, after the last step, and skipped_steps, how many have overflowed. The line after
an epoch has validation_loss, validation_top1_error and validation_top5_error instead.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

# What readers rely on: a line has all of the one or all of the other.
TRAINING = {"step", "epoch", "loss", "top1_error", "learning_rate", "images_per_second", "data_wait", "seconds"}
VALIDATION = {"step", "epoch", "validation_loss", "validation_top1_error", "seconds"}


class LogLines(list[dict[str, float]]):
    """The lines that are whole. `unreadable` counts the others: cut short by a crash, or changed by a disk."""

    unreadable = 0


def read_log(path: Path) -> LogLines:
    """The log's lines; none of a log that is not there."""
    return _lines_of(path.read_bytes().split(b"\n") if path.exists() else [])


def read_outline(path: Path) -> LogLines:
    """The lines after each epoch, and the newest of training: enough for a short account, and twenty times faster.

    Before the first epoch ends, all lines. What follows the last line end is left out: it may be being written.
    Raises OSError, also where there is no log.
    """
    texts = path.read_bytes().split(b"\n")[:-1]
    after_epochs = [b'"validation_loss"' in text for text in texts]
    newest = max((number for number, is_validation in enumerate(after_epochs) if not is_validation), default=-1)
    if any(after_epochs):
        texts = [text for number, text in enumerate(texts) if after_epochs[number] or number == newest]
    return _lines_of(texts)


def _lines_of(texts: Iterable[bytes]) -> LogLines:
    lines = LogLines()
    for text in texts:
        line = _parsed(text)
        if line is not None:
            lines.append(line)
        elif text:
            lines.unreadable += 1
    return lines


def _parsed(text: bytes) -> dict[str, float] | None:
    """A line's numbers; None where it is not whole."""
    try:
        line = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or not (set(line) >= TRAINING or set(line) >= VALIDATION):
        return None
    places = (line["step"], line["epoch"], line["seconds"])
    return line if all(map(_is_number, line.values())) and all(place == place for place in places) else None


def _is_number(value: object) -> bool:
    """A loss may be NaN, but no number is beyond the range of floats."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return value != value or abs(value) <= sys.float_info.max
