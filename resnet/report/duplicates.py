"""Validation images that training has seen, or nearly: what they do to the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from resnet.analysis.near_duplicates import NearDuplicates, NotKnown, near_duplicates
from resnet.report.results import Results

PAIRS = 12


@dataclass(frozen=True)
class Duplicates:
    """What the report states of them. Errors are percent."""

    sentence: str
    images: int | None  # validation images concerned; None where it is not known
    error_without: float | None  # with the other images only
    error_sentence: str  # empty where none was found
    contradictions: int  # pairs of different labels
    pairs: int
    shown: list[dict[str, Any]]  # the most similar pairs, as `resnet.analysis.near_duplicates` has them


def find_duplicates(results: Results) -> NearDuplicates | NotKnown | None:
    """None for weights from elsewhere: what they were trained on is not known here."""
    if results.imported or not results.stages["convert"]["images"]["train"]:
        return None
    return near_duplicates(results.run.records, results.run.machine.workers)


def duplicates(results: Results, found: NearDuplicates | NotKnown | None) -> Duplicates | None:
    """The section's numbers and sentences."""
    if found is None:
        return None
    if isinstance(found, NotKnown):
        return Duplicates(found.sentence, None, None, "", 0, 0, [])
    without = found.error_without(results.images.correct)
    return Duplicates(
        sentence=found.sentence,
        images=found.images,
        error_without=None if np.isnan(without.without_them) else without.without_them,
        error_sentence=without.sentence if found.images else "",
        contradictions=len(found.contradictions),
        pairs=len(found.pairs),
        shown=_named(results, found.pairs.head(PAIRS).to_dict("records")),  # type: ignore[arg-type]
    )


def _named(results: Results, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the names of their classes in place of the identifiers."""
    names = {identifier: name for (identifier, _), name in zip(results.classes, results.names, strict=True)}
    return [row | {key: names[row[key]] for key in ("validation_label", "training_label")} for row in rows]
