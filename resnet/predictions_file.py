"""The predictions of a run as a table. A row is an image: file, label, the five likeliest classes, probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from resnet.files import atomic

LIKELIEST = 5


def write_predictions(
    path: Path, logits: np.ndarray, labels: np.ndarray, filenames: Sequence[str], classes: Sequence[tuple[str, str]]
) -> Path:
    """Write the table as CSV; returns the path. `logits` are float32 [n, classes], `labels` int32 [n]."""
    names = np.array([identifier for identifier, _ in classes], object)
    likeliest = np.argsort(-logits, axis=1, kind="stable")[:, : min(LIKELIEST, len(classes))]
    probabilities = np.exp(log_softmax(logits.astype(np.float64), 1))
    table: dict[str, Any] = {"file": filenames, "label": names[labels]}
    for place in range(likeliest.shape[1]):
        table[f"class{place + 1}"] = names[likeliest[:, place]]
        table[f"probability{place + 1}"] = probabilities[np.arange(len(labels)), likeliest[:, place]].round(6)
    with atomic(path, "w") as file:
        pd.DataFrame(table).to_csv(file, index=False)
    return path


def read_predictions(path: Path) -> pd.DataFrame:
    """The table; names of files and classes are text, even where they look like numbers."""
    text = dict.fromkeys(("file", "label", *(f"class{place}" for place in range(1, LIKELIEST + 1))), str)
    return pd.read_csv(path, dtype=text, keep_default_na=False)  # type: ignore[arg-type]
