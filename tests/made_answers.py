"""Evaluations made from logits, as Evaluate would store them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.special import softmax

from resnet.analysis.answers import EvaluatedImages
from resnet.predictions_file import write_predictions


def made_answers(logits, labels, *, files=None, classes=None, with_logits=True) -> EvaluatedImages:
    """Images with these logits [n, classes] and labels [n]; without the logits, what predictions.csv has of them."""
    logits, labels = np.asarray(logits, np.float32), np.asarray(labels, np.int64)
    likeliest = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    with np.errstate(invalid="ignore"):
        probabilities = np.take_along_axis(softmax(logits.astype(np.float64), 1), likeliest, 1).round(6)
    return EvaluatedImages(
        files=files or [f"{i}.jpg" for i in range(len(labels))],
        classes=classes or [(f"n{i}", f"name {i}") for i in range(logits.shape[1])],
        labels=labels,
        likeliest=likeliest,
        probabilities=probabilities,
        logits=logits if with_logits else None,
    )


def answered(answers, labels, classes: int) -> EvaluatedImages:
    """Images whose first answers are these; -1 where the network answers NaN."""
    answers = np.asarray(answers, np.int64)
    logits = 5 * np.eye(classes, dtype=np.float32)[answers]
    logits[answers < 0] = np.nan
    return made_answers(logits, labels)


def random_answers(seed: int, images: int = 400, classes: int = 7, skill: float = 2.0) -> EvaluatedImages:
    """Random logits in which the label stands out by `skill`."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, images)
    logits = random.standard_normal((images, classes))
    logits[np.arange(images), labels] += skill
    return made_answers(logits, labels)


def written(folder: Path, images: EvaluatedImages) -> tuple[Path, Path]:
    """predictions.csv and logits.npy of the images."""
    table, logits = folder / "predictions.csv", folder / "logits.npy"
    write_predictions(table, images.files, images.labels, images.likeliest, images.probabilities, images.classes)
    np.save(logits, images.logits)
    return table, logits


def two_classes(wrong: int, images: int = 40) -> np.ndarray:
    """Logits of two classes for images labelled 0, 1, 0, 1 ..., of which the first so many are wrong."""
    labels = np.arange(images) % 2
    answer = np.where(np.arange(images) < wrong, 1 - labels, labels)
    return np.eye(2, dtype=np.float32)[answer] * 4
