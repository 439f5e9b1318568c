"""What the answers show: calibration, confident mistakes, likely label errors, the effect of averaged statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from resnet.analysis.calibration import Calibration
from resnet.analysis.label_errors import LabelErrors
from resnet.analysis.mcnemar import Comparison, compare_counts
from resnet.report.results import Results
from resnet.report.wording import between, count, percent

MISTAKES = 24
MANY_BATCHES = 100  # from so many on, statistics count as averaged over many batches
ALMOST = 0.1  # points: errors that are no further apart are almost the same


@dataclass(frozen=True)
class Trust:
    """How far probabilities can be trusted. Shares and probabilities are 0 to 1."""

    sentence: str
    confidence: float
    accuracy: float
    ece: float
    ece_after: float
    temperature: float | None
    bins: list[dict[str, Any]]


@dataclass(frozen=True)
class Shown:
    """A validation image that a gallery shows. `row`: its place in predictions.csv, from 0."""

    row: int
    file: str
    label: str
    predicted: str
    probability: float | None


@dataclass(frozen=True)
class Selection:
    """Images, chosen out of `total`."""

    sentence: str
    total: int
    shown: list[Shown]


@dataclass(frozen=True)
class StatisticsCurve:
    """The error against the number of batches that batch-norm statistics are averaged over; 0: moving averages."""

    rows: list[dict[str, Any]]
    unaveraged: str  # what the statistics of 0 batches are
    sentence: str


def trust(calibration: Calibration) -> Trust:
    """The numbers of a calibration that the report states."""
    return Trust(
        sentence=calibration.sentence,
        confidence=calibration.confidence,
        accuracy=calibration.accuracy,
        ece=calibration.ece,
        ece_after=calibration.ece_after,
        temperature=calibration.temperature,
        bins=calibration.bins.to_dict("records"),  # type: ignore[arg-type]
    )


def confident_mistakes(results: Results) -> Selection:
    """The mistakes that the network was surest of."""
    images = results.images
    wrong = np.flatnonzero(~images.correct)
    surest = wrong[np.argsort(-np.nan_to_num(images.confidence[wrong], nan=-1.0), kind="stable")][:MISTAKES]
    if not len(wrong):
        return Selection("None: every validation image was classified correctly.", 0, [])
    if len(surest) == len(wrong):
        sentence = f"All {count(len(wrong), 'mistake')}, the surest first." if len(wrong) > 1 else "The only mistake."
    else:
        sentence = f"The {len(surest)} mistakes that the network was surest of, out of {len(wrong):,}."
    shown = [_shown(results, row, int(images.predicted[row]), images.confidence[row]) for row in surest.tolist()]
    return Selection(sentence, len(wrong), shown)


def label_errors(results: Results, found: LabelErrors) -> Selection:
    """The images whose label is likely wrong."""
    if found.table is None:
        return Selection(found.sentence, 0, [])
    rows = found.table["row"].tolist()
    images = results.images
    shown = [_shown(results, row, int(images.predicted[row]), images.confidence[row]) for row in rows[:MISTAKES]]
    return Selection(found.sentence, len(rows), shown)


def _shown(results: Results, row: int, predicted: int, probability: float) -> Shown:
    images, names = results.images, results.names
    known = None if np.isnan(probability) else float(probability)
    return Shown(row, images.files[row], names[images.labels[row]], names[predicted], known)


def statistics_curve(results: Results) -> StatisticsCurve | None:
    """The curve; None where it was not measured."""
    rows = results.stages["evaluate"]["metrics"].get("statistics", [])
    if not rows:
        return None
    source = "its imported statistics" if results.imported else "training's moving averages"
    sentences = [_few_and_many(results, rows)]
    if moving := next((row for row in rows if not row["batches"]), None):
        sentences.append(_sentence(results, moving, f"the network with {source}"))
    return StatisticsCurve(rows, source, " ".join(sentences))


def _few_and_many(results: Results, rows: list[dict[str, Any]]) -> str:
    """Whether as few batches as the recipe says give the same error as many."""
    used, many = results.run.recipe.batchnorm.batches, max(rows, key=lambda row: row["batches"])
    if many["batches"] < max(MANY_BATCHES, used + 1):
        epoch = results.stages["convert"]["images"]["train"] // results.run.recipe.training.batch_size
        has = count(epoch, "batch", "batches")
        return f"Whether {used} and many more give the same cannot be told: an epoch has {has}."
    few = next((row for row in rows if row["batches"] == used), many)
    are_close = abs(many["top1_error"] - few["top1_error"]) <= ALMOST
    holds = are_close or not _against_own(results, many).significant
    number = f"{many['batches']:,}"
    errors = [f"{percent(row['top1_error'])} ({between(row['top1_error_interval'])})" for row in (few, many)]
    return (
        f"That “{used} and {number} batches are almost the same” {'holds' if holds else 'does not hold'} here: "
        f"{' and '.join(errors)}. {_sentence(results, many, f'the network with {number} batches')}"
    )


def _against_own(results: Results, row: dict[str, Any]) -> Comparison:
    """The result and a point of the curve."""
    return compare_counts(results.metrics["images"], row["lost"], row["gained"])


def _sentence(results: Results, row: dict[str, Any], name: str) -> str:
    """What the difference between a point and the one of as many batches as the recipe says means."""
    own = f"the one with {count(results.run.recipe.batchnorm.batches, 'batch', 'batches')}"
    sentence = _against_own(results, row).sentence(name, own)
    return sentence[0].upper() + sentence[1:]
