"""Class by class: errors, images, and which classes are taken for which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from resnet.analysis.confusions import confused_pairs
from resnet.analysis.per_class import per_class
from resnet.records.shards import ShardedRecords
from resnet.report.results import Results
from resnet.report.wording import between, count, percent

ALL_CLASSES = 40  # up to so many, the page has every class; above it, these:
WORST, BEST = 20, 5
PAIRS = 10


@dataclass(frozen=True)
class ClassErrors:
    """What the report states class by class; `table` has every class, in the order of the labels.

    Rows have the columns of `resnet.analysis.per_class` (errors in percent) and `training_images`, -1 where not known.
    """

    classes: int
    without_images: int  # classes without a validation image
    worst: list[dict[str, Any]]  # by falling error; every class where there are few
    best: list[dict[str, Any]]  # by falling error, the last ones; none where `worst` has every class
    sentence: str
    images_sentence: str
    confused: list[dict[str, Any]]  # rows of `resnet.analysis.confusions.confused_pairs`
    confused_sentence: str


def class_table(results: Results) -> pd.DataFrame:
    """Every class: `per_class` with the training images."""
    table = per_class(results.images)
    table["name"] = pd.Series(results.names, dtype=object)
    table.insert(2, "training_images", _training_images(results))
    return table


def _training_images(results: Results) -> np.ndarray:
    """Of each class; -1 for weights from elsewhere, whose images are not known."""
    if results.imported or not results.stages["convert"]["images"]["train"]:
        return np.full(len(results.classes), -1)
    labels = ShardedRecords(results.run.records, "train").index["label"]
    return np.bincount(labels, minlength=len(results.classes))


def class_errors(results: Results, table: pd.DataFrame) -> ClassErrors:
    """The section's numbers, from the whole table."""
    known = table[table["images"] > 0]
    ordered = known.sort_values(["error", "images"], ascending=[False, False], kind="stable")
    few = len(ordered) <= ALL_CLASSES
    pairs = confused_pairs(results.images, PAIRS)
    names = {identifier: name for (identifier, _), name in zip(results.classes, results.names, strict=True)}
    for column in ("label", "predicted"):
        pairs[f"{column}_name"] = [names[identifier] for identifier in pairs[column]]
    return ClassErrors(
        classes=len(table),
        without_images=len(table) - len(known),
        worst=_rows(ordered if few else ordered.head(WORST)),
        best=[] if few else _rows(ordered.tail(BEST)),
        sentence=_sentence(ordered),
        images_sentence=_images_sentence(known),
        confused=_rows(pairs),
        confused_sentence=_confused_sentence(pairs),
    )


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return table.to_dict("records")  # type: ignore[return-value]


def _sentence(ordered: pd.DataFrame) -> str:
    if len(ordered) < 2:
        return "There is one class only, so no class can be taken for another."
    worst, faultless = ordered.iloc[0], int((ordered["errors"] == 0).sum())
    if faultless == len(ordered):
        return "No class has an error."
    sentence = (
        f"The worst is “{worst['name']}”: {worst['errors']:,} of {worst['images']:,} images wrong, "
        f"{percent(worst['error'])} (95 % interval {between((worst['low'], worst['high']))}). "
    )
    if 2 * faultless > len(ordered):
        return f"{sentence}{faultless:,} of the {len(ordered):,} classes have no error."
    half = f"Half of the {len(ordered):,} classes have an error of at most {percent(ordered['error'].median())}"
    none = f"; {count(faultless, 'class has', 'classes have')} none" if faultless else ""
    return f"{sentence}{half}{none}."


def _images_sentence(known: pd.DataFrame) -> str:
    parts = [
        f"{_range(known[column])} {kind} images"
        for column, kind in (("training_images", "training"), ("images", "validation"))
        if len(known) and known[column].min() >= 0
    ]
    return f"A class has {' and '.join(parts)}." if parts else ""


def _range(numbers: pd.Series) -> str:
    low, high = int(numbers.min()), int(numbers.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _confused_sentence(pairs: pd.DataFrame) -> str:
    if not len(pairs):
        return ""
    first = pairs.iloc[0]
    return (
        f"Most often, “{first['label_name']}” is taken for “{first['predicted_name']}”: "
        f"{first['images']:,} of {first['of']:,} images."
    )
