"""All that the report states, as numbers and sentences. report.html, report.md and report.json are its three forms."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pandas as pd

from resnet.analysis.answers import EvaluatedImages
from resnet.analysis.calibration import Calibration, calibration
from resnet.analysis.class_order import HOPELESS, reordered_error
from resnet.analysis.label_errors import LabelErrors, likely_label_errors
from resnet.analysis.near_duplicates import NearDuplicates, NotKnown
from resnet.report.class_errors import ClassErrors, class_errors, class_table
from resnet.report.course import Course, course_of
from resnet.report.duplicates import Duplicates, duplicates, find_duplicates
from resnet.report.findings import (
    Selection,
    StatisticsCurve,
    Trust,
    confident_mistakes,
    label_errors,
    statistics_curve,
    trust,
)
from resnet.report.headline import Headline, headline
from resnet.report.lineage import Repetition, StageFacts, repetition, stage_facts
from resnet.report.made import Fact, facts
from resnet.report.names import readable
from resnet.report.other_runs import OtherRuns, other_runs
from resnet.report.results import Results

VERSION = 1  # of report.json


class File(NamedTuple):
    """A file beside the page: its path from there, its name, and what is in it."""

    path: str
    name: str
    text: str


@dataclass(frozen=True)
class Content:
    """The whole report. Errors are percent, times seconds, shares and probabilities 0 to 1."""

    version: int
    title: str
    run: str
    recipe: str
    data_set: str
    finished: str  # when the evaluation ended, ISO 8601
    headline: Headline
    class_order: str  # what is wrong with the order of the classes; empty if nothing is
    others: OtherRuns
    course: Course | None  # None: imported weights, or no log
    classes: ClassErrors
    trust: Trust
    mistakes: Selection
    label_errors: Selection
    duplicates: Duplicates | None  # None: imported weights
    statistics: StatisticsCurve | None
    facts: list[Fact]
    stages: list[StageFacts]
    repetition: Repetition
    settings: str  # the recipe as TOML
    files: list[File]


@dataclass(frozen=True)
class Analysis:
    """The tables behind the content, for figures and CSV files."""

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


def content_of(results: Results, analysis: Analysis) -> Content:
    """The report of a run."""
    run = results.run
    return Content(
        version=VERSION,
        title=f"ResNet-{run.recipe.model.depth} on {run.records_name}",
        run=run.name,
        recipe=run.recipe_name,
        data_set=run.records_name,
        finished=results.stages["evaluate"]["end"],
        headline=headline(results),
        class_order=reordered_error(results.images).sentence if results.images.error > HOPELESS else "",
        others=other_runs(results),
        course=None if results.imported else course_of(results.log, run.recipe.training, results.log_has_changed),
        classes=class_errors(results, analysis.classes),
        trust=trust(analysis.calibration),
        mistakes=confident_mistakes(results),
        label_errors=label_errors(results, analysis.label_errors),
        duplicates=duplicates(results, analysis.duplicates),
        statistics=statistics_curve(results),
        facts=facts(results),
        stages=stage_facts(results),
        repetition=repetition(results),
        settings=run.recipe.toml(),
        files=_files(results, list(analysis.tables())),
    )


# Of other stages, by the folder that they are in.
LINKED = {
    "batchnorm": {"weights.safetensors": "the weights, with averaged statistics: use these"},
    "train": {"weights.safetensors": "the weights as trained", "log.jsonl": "the training log"},
    "evaluate": {
        "metrics.json": "the errors",
        "predictions.csv": "each validation image's label and likeliest classes",
        "logits.npy": "every logit of each validation image",
    },
    "convert": {
        "classes.txt": "the classes in the order of their labels",
        "rejected.csv": "images that were left out, with the reason",
        "decode_warnings.csv": "images that were decoded with a warning",
        "ignored.csv": "files that are no images",
    },
}
TABLES = {
    "per_class": "every class: errors, interval, precision, recall",
    "calibration": "the bins of the reliability diagram",
    "mistakes": "every mistake, the surest first",
    "likely_label_errors": "images whose label is likely wrong",
    "near_duplicates": "validation images and the training images that they resemble",
}


def _files(results: Results, tables: list[str]) -> list[File]:
    """Links to what the stages have left, and to the report's own tables."""
    run = results.run
    report = run.stage_folder("report")
    found = [File("report.json", "report.json", "all that this page states, as numbers")]
    found += [File(f"{name}.csv", f"{name}.csv", TABLES[name]) for name in tables]
    for stage, names in LINKED.items():
        for name, text in names.items():
            if (path := run.stage_folder(stage) / name).is_file():
                found.append(File(_relative(path, report), f"{stage}/{name}", text))
    return found


def _relative(path: Path, folder: Path) -> str:
    """The path as a link from a page in the folder."""
    return quote(os.path.relpath(path, folder))


def as_json(content: Content) -> str:
    """report.json: the content as it is. What is not known is null."""
    return json.dumps(_plain(content), indent=1) + "\n"


def _plain(value: Any) -> Any:
    """Dataclasses, tuples with names, and NumPy's numbers as what JSON has."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value
