"""The analysis of a run: the tables that figures and CSV files are made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from resnet.analysis.answers import EvaluatedImages
from resnet.analysis.calibration import Calibration, calibration
from resnet.analysis.label_errors import LabelErrors, likely_label_errors
from resnet.analysis.near_duplicates import NearDuplicates, NotKnown
from resnet.report.class_errors import class_table
from resnet.report.duplicates import find_duplicates
from resnet.report.results import Results


@dataclass(frozen=True)
class Analysis:
    """What is found out about a run once, for the content, the figures and the files."""

    images: EvaluatedImages
    classes: pd.DataFrame
    calibration: Calibration
    label_errors: LabelErrors
    duplicates: NearDuplicates | NotKnown | None

    @classmethod
    def of(cls, results: Results) -> Analysis:
        images = results.images
        found = likely_label_errors(images)
        return cls(images, class_table(results), calibration(images), found, find_duplicates(results))

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables that are written, by the name of their file."""
        found = {"per_class": self.classes, "calibration": self.calibration.bins, "mistakes": self._mistakes()}
        if self.label_errors.table is not None:
            found["likely_label_errors"] = self.label_errors.table
        if isinstance(self.duplicates, NearDuplicates):
            found["near_duplicates"] = self.duplicates.pairs
        return found

    def _mistakes(self) -> pd.DataFrame:
        """Every mistake, the surest first."""
        images = self.images
        rows = np.flatnonzero(~images.correct)
        identifiers = [identifier for identifier, _ in images.classes]
        columns = {
            "row": rows,
            "file": [images.files[row] for row in rows],
            "label": [identifiers[label] for label in images.labels[rows]],
            "predicted": [identifiers[label] for label in images.predicted[rows]],
        }
        table = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
        table["probability"] = images.confidence[rows]
        return table.sort_values("probability", ascending=False, kind="stable")
