"""The training log on disk: one JSON object a line.

    {"step": 200, "epoch": 1.6, "loss": 1.2, "top1_error": 34.1, "top5_error": 3.3, "learning_rate": 0.1,
     "images_per_second": 690.0, "data_wait": 0.02, "seconds": 41.7}

Numbers are averages since the line before. Errors are in percent; data_wait is the fraction of the time spent waiting
for images; seconds is the training time so far, over all attempts. The line after an epoch has validation_loss,
validation_top1_error and validation_top5_error instead.
"""

from __future__ import annotations

import json
from pathlib import Path


def read_log(path: Path) -> list[dict[str, float]]:
    """The log's lines, without a last line that a crash cut short."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines
