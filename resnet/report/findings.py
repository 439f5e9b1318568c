"""What the answers show: calibration, confident mistakes, likely label errors, the effect of averaged statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from resnet.analysis.calibration import Calibration
from resnet.analysis.label_errors import LabelErrors
from resnet.report.results import Results
from resnet.report.wording import between, count, percent

MISTAKES = 24
MANY_BATCHES = 100  # from so many on, statistics count as averaged over many batches


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
    return StatisticsCurve(rows, _few_and_many(rows, results.run.recipe.batchnorm.batches))


def _few_and_many(rows: list[dict[str, Any]], used: int) -> str:
    """Whether as few batches as are used give the same error as many."""
    averaged = {row["batches"]: row for row in rows if row["batches"]}
    moving = next((row for row in rows if not row["batches"]), None)
    sentences = []
    if averaged:
        few, many = averaged.get(used, averaged[min(averaged)]), averaged[max(averaged)]
        if many["batches"] >= MANY_BATCHES and few["batches"] < many["batches"]:
            sentences.append(_compared(few, many))
        elif len(averaged) > 1:
            sentences.append(
                f"Whether {used} batches and many give the same cannot be told: an epoch has only "
                f"{count(many['batches'], 'batch', 'batches')}."
            )
    if moving:
        sentences.append(
            f"The moving averages of training give {percent(moving['top1_error'])} "
            f"({between(moving['top1_error_interval'])})."
        )
    return " ".join(sentences)


def _compared(few: dict[str, Any], many: dict[str, Any]) -> str:
    low, high = few["top1_error_interval"]
    almost = low <= many["top1_error"] <= high
    return (
        f"Averaged over {count(few['batches'], 'batch', 'batches')} the error is {percent(few['top1_error'])} "
        f"({between((low, high))}), over {many['batches']:,} {percent(many['top1_error'])} "
        f"({between(many['top1_error_interval'])}): {abs(many['top1_error'] - few['top1_error']):.2f} points apart. "
        f"That “{few['batches']} and {many['batches']:,} are almost the same” "
        f"{'holds here: the one lies inside the interval of the other' if almost else 'does not hold here'}."
    )
