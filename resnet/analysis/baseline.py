"""What a result is worth against the simplest answer of all: always the most frequent class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from resnet.analysis.answers import EvaluatedImages

SIGNIFICANCE = 0.05  # above this p-value, chance explains the result
TAKES_ALL = 0.9  # share of the answers from which on one class takes (nearly) all
SURPLUS = 0.1  # and by how much this exceeds the class's share of the images


@dataclass(frozen=True)
class Dominant:
    """The class that the network answers most often."""

    label: int
    share: float  # of the answers, 0 to 1
    share_of_images: float  # that really are of the class

    @property
    def takes_all(self) -> bool:
        """Whether it stands for nearly every answer, and the images do not explain that."""
        return self.share >= TAKES_ALL and self.share > self.share_of_images + SURPLUS


@dataclass(frozen=True)
class Baseline:
    """A result beside chance. Errors are in percent."""

    error: float
    chance: float  # error of always answering the most frequent class
    p_value: float  # of this many right answers or more, if they came by chance (one-sided binomial test)
    unanswered: int  # images
    dominant: Dominant | None  # None: no image was answered
    sentence: str

    @property
    def better_than_chance(self) -> bool:
        return self.p_value < SIGNIFICANCE


def chance(images: EvaluatedImages) -> float:
    """The error of always answering the most frequent class, in percent."""
    return float(100 * (1 - np.bincount(images.labels).max() / len(images)))


def p_value_against_chance(labels: np.ndarray, correct: np.ndarray) -> float:
    """The probability of as many right answers, or more, by always answering the most frequent of the labels."""
    share = np.bincount(labels).max() / len(labels)
    return float(binomtest(int(correct.sum()), len(labels), share, alternative="greater").pvalue)


def dominant(images: EvaluatedImages) -> Dominant | None:
    """The class that takes the largest share of the answers; None if no image was answered."""
    answers = images.predicted[~images.unanswered]
    if not len(answers):
        return None
    times = np.bincount(answers)
    label = int(times.argmax())
    return Dominant(label, float(times[label] / len(answers)), float(np.mean(images.labels == label)))


def compare_with_chance(images: EvaluatedImages) -> Baseline:
    """Whether the network knows more than which class is the most frequent, with a sentence that says so."""
    p_value = p_value_against_chance(images.labels, images.correct)
    most = dominant(images)
    lines = [
        _against_chance(images, p_value),
        _takes_all(images, most),
        _unanswered(images),
    ]
    return Baseline(
        error=images.error,
        chance=chance(images),
        p_value=p_value,
        unanswered=int(images.unanswered.sum()),
        dominant=most,
        sentence=" ".join(line for line in lines if line),
    )


def _against_chance(images: EvaluatedImages, p_value: float) -> str:
    count = np.bincount(images.labels, minlength=len(images.classes))
    frequent = images.classes[int(count.argmax())][1]
    named = "the same class" if (count == count[0]).all() else f"“{frequent}”, the most frequent class,"
    simplest = f"Always answering {named} gives {chance(images):.2f} % error."
    if p_value < SIGNIFICANCE:
        return simplest
    return f"{simplest} This network is not better than that: {images.error:.2f} % (binomial test, p = {p_value:.2g})."


def _takes_all(images: EvaluatedImages, most: Dominant | None) -> str:
    if most is None or not most.takes_all:
        return ""
    return (
        f"One class takes nearly all: the network answers “{images.classes[most.label][1]}” for "
        f"{100 * most.share:.1f} % of the images, and {100 * most.share_of_images:.1f} % are of that class."
    )


def _unanswered(images: EvaluatedImages) -> str:
    if not (number := int(images.unanswered.sum())):
        return ""
    return (
        f"For {number:,} of {len(images):,} images the network has no single answer, because its numbers are NaN or "
        "classes tie. They count as wrong."
    )
