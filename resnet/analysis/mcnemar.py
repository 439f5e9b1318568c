"""Whether two results on the same images differ by more than chance: the test of McNemar (1947).

Only the images matter that one of the two gets right and the other wrong. If both are equally good, each of these is
as likely to favour the one as the other, so their number follows a binomial distribution; the test is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from resnet.analysis.answers import EvaluatedImages
from resnet.errors import UserError

SIGNIFICANCE = 0.05  # above this p-value, chance explains the difference


@dataclass(frozen=True)
class Comparison:
    """Two results, a and b, on the same images."""

    images: int
    only_a: int  # images that a gets right and b wrong
    only_b: int  # the other way round
    p_value: float  # two-sided

    @property
    def difference(self) -> float:
        """The error of b minus that of a, in points (percent of the images)."""
        return 100 * (self.only_a - self.only_b) / self.images

    @property
    def significant(self) -> bool:
        """Whether chance alone would seldom (less than once in 20 times) make such a difference."""
        return self.p_value < SIGNIFICANCE

    def sentence(self, b: str, a: str = "this run") -> str:
        """What the difference means; `a` and `b` name the two."""
        if not self.only_a + self.only_b:
            return f"{b} and {a} are right on the same images."
        favours = (
            f"it is right on {_images(self.only_b)} that {a} gets wrong, "
            f"and wrong on {self.only_a:,} that {a} gets right."
        )
        probability = "p < 0.001" if self.p_value < 0.001 else f"p = {self.p_value:.2g}"
        verdict = "more than chance explains" if self.significant else "which may be chance"
        size = f"{abs(self.difference):.2f} points {'higher' if self.difference > 0 else 'lower'}"
        if not self.difference:
            return f"{b} has the same error as {a}: {favours}"
        return f"The error of {b} is {size}, {verdict} (McNemar's test, {probability}): {favours}"


def compare(correct_a: np.ndarray, correct_b: np.ndarray) -> Comparison:
    """Compare two results by which images they get right: bool [n] each, the same images in the same order."""
    if len(correct_a) != len(correct_b) or not len(correct_a):
        raise ValueError(f"{len(correct_a)} and {len(correct_b)} images are not the same images")
    only_a, only_b = int(np.sum(correct_a & ~correct_b)), int(np.sum(correct_b & ~correct_a))
    return compare_counts(len(correct_a), only_a, only_b)


def compare_counts(images: int, only_a: int, only_b: int) -> Comparison:
    """Likewise, from the number of images that only one of the two gets right."""
    differing = only_a + only_b
    p_value = float(binomtest(only_a, differing).pvalue) if differing else 1.0
    return Comparison(images, only_a, only_b, p_value)


def compare_images(a: EvaluatedImages, b: EvaluatedImages, name_b: str, name_a: str = "this run") -> Comparison:
    """Compare two evaluations. Raises UserError if they are not of the same images, by file and label, in one order."""
    if why := _difference_of_images(a, b):
        raise UserError(f"{name_b} cannot be compared with {name_a} image by image: {why}.")
    return compare(a.correct, b.correct)


def _difference_of_images(a: EvaluatedImages, b: EvaluatedImages) -> str:
    """Why two evaluations are not of the same images; empty if they are. Files of two classes may share a name."""
    if len(a) != len(b):
        return f"{len(b):,} images were evaluated, and here {len(a):,}"
    for i, (file_a, file_b) in enumerate(zip(a.files, b.files, strict=True)):
        if file_a != file_b:
            return f"image {i + 1:,} is {file_b}, and here {file_a}"
        label_a, label_b = a.classes[a.labels[i]][0], b.classes[b.labels[i]][0]
        if label_a != label_b:
            return f"{file_a} has the label {label_b}, and here {label_a}"
    return ""


def _images(number: int) -> str:
    return f"{number:,} {'image' if number == 1 else 'images'}"
