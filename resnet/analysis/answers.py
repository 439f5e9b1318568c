"""What is known of each validation image after an evaluation: its file, its label, and what the network answered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from resnet.errors import UserError
from resnet.predictions_file import read_predictions

NO_LOGITS = "the evaluation kept no logits: it is of an earlier version, or they exceed evaluation.logits_megabytes"
BLOCK = 1 << 20  # logits in memory at a time: 4 MB, which processors keep near


@dataclass(frozen=True)
class EvaluatedImages:
    """The validation images in the order of the records, a row an image. Classes count from 0, in label order."""

    files: list[str]
    classes: list[tuple[str, str]]  # identifier and readable name
    labels: np.ndarray  # int64 [n]
    likeliest: np.ndarray  # the likeliest classes (five, or all where there are fewer), likeliest first, int64 [n, 5]
    probabilities: np.ndarray  # of these, float64 [n, 5]; NaN where the network answered NaN
    logits: np.ndarray | None = None  # float32 [n, classes], mapped from logits.npy where there is one

    @classmethod
    def read(cls, predictions: Path, logits: Path | None, classes: list[tuple[str, str]]) -> EvaluatedImages:
        """The images of predictions.csv, with the logits of logits.npy, which is mapped and not read.

        Raises UserError for a file that is missing, corrupt, or does not fit the other.
        """
        number = {identifier: label for label, (identifier, _) in enumerate(classes)}
        table = read_predictions(predictions, number)
        places = (len(table.columns) - 2) // 2
        answers = np.array([table[f"class{place}"].map(number) for place in range(1, places + 1)], np.int64)
        return cls(
            files=table["file"].tolist(),
            classes=classes,
            labels=table["label"].map(number).to_numpy(np.int64),
            likeliest=answers.T,
            probabilities=table[[f"probability{place}" for place in range(1, places + 1)]].to_numpy(float),
            logits=None if logits is None else _mapped(logits, (len(table), len(classes))),
        )

    def __len__(self) -> int:
        return len(self.files)

    @property
    def predicted(self) -> np.ndarray:
        """The first answer, int64 [n]. It means nothing where the image is `unanswered`."""
        return self.likeliest[:, 0]

    @property
    def confidence(self) -> np.ndarray:
        """The probability of the first answer, float64 [n]."""
        return self.probabilities[:, 0]

    @cached_property
    def unanswered(self) -> np.ndarray:
        """Bool [n]: whether no class is the likeliest, because the network answered NaN or two classes tie.

        Evaluate counts these as wrong (see `resnet.inference.label_ranks`). The table has six decimals: probabilities
        that are equal there are compared by their logits. Without these, it is a tie only where all that are listed are
        equal, as in a network that knows nothing: two that differ by less than 1e-6 are common, and real ties are not.
        """
        found = np.isnan(self.confidence)
        if self.likeliest.shape[1] > 1:
            tied = np.flatnonzero(self.confidence == self.probabilities[:, 1])
            first, second = self.likeliest[tied, :2].T
            if self.logits is None:
                found[tied] = (self.probabilities[tied] == self.confidence[tied, None]).all(1)
            else:
                found[tied] = self.logits[tied, first] == self.logits[tied, second]
        return found

    @cached_property
    def correct(self) -> np.ndarray:
        """Bool [n]: whether the first answer is the label."""
        return (self.predicted == self.labels) & ~self.unanswered

    @property
    def error(self) -> float:
        """Top-1 error in percent."""
        return float(100 * (1 - self.correct.mean()))

    def logit_blocks(self, size: int = BLOCK) -> Iterator[tuple[slice, np.ndarray]]:
        """All logits, about `size` numbers at a time: which rows, and a copy of them.

        The file is mapped again for each block: pages of one mapping would stay in memory until all 4 GB are there.
        """
        if self.logits is None:
            raise ValueError(NO_LOGITS)
        step = max(1, size // max(1, len(self.classes)))
        for start in range(0, len(self), step):
            rows = slice(start, start + step)
            yield rows, np.array(_another_mapping(self.logits)[rows])


def identifiers_and_names(images: EvaluatedImages, labels: np.ndarray) -> tuple[pd.Series, pd.Series]:
    """The classes of labels, as two columns of a table. They are objects: names may hold bytes that are not UTF-8."""
    chosen = [images.classes[label] for label in labels]
    return tuple(pd.Series([pair[i] for pair in chosen], dtype=object) for i in (0, 1))  # type: ignore[return-value]


def _mapped(path: Path, shape: tuple[int, int]) -> np.ndarray:
    try:
        logits = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(logits, np.memmap) or logits.dtype != np.float32 or logits.shape != shape:
            raise ValueError(f"it does not hold {shape[0]:,} x {shape[1]:,} float32 numbers, as predictions.csv needs")
    except (OSError, EOFError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path} cannot be read: {reason}. Delete it: then `luigi` runs Evaluate again.") from None
    return logits


def _another_mapping(logits: np.ndarray) -> np.ndarray:
    if not isinstance(logits, np.memmap):
        return logits
    return np.load(logits.filename, mmap_mode="r", allow_pickle=False)  # type: ignore[arg-type]
