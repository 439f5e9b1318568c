"""Whether probabilities mean what they say: of the answers given with 0.8, are 80 % right?

Bins and expected calibration error (ECE) are those of Guo et al. 2017, "On calibration of modern neural networks".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from resnet.analysis.answers import EvaluatedImages
from resnet.analysis.intervals import wilson
from resnet.analysis.temperature import Scaled, fit_temperature

BINS = 15  # as many as Guo et al. have
IMAGES_PER_BIN = 20  # on average; fewer images get fewer bins
NEGLIGIBLE = 0.005  # a difference of mean confidence and accuracy that is called none


@dataclass(frozen=True)
class Calibration:
    """Confidence beside accuracy, both 0 to 1. Unanswered images are left out and counted."""

    bins: pd.DataFrame  # `low`, `high`, `images`, mean `confidence`, `accuracy`, `accuracy_low`, `accuracy_high`
    images: int
    unanswered: int
    confidence: float  # mean
    accuracy: float
    ece: float
    scaled: Scaled | None  # with the temperature that would calibrate; None where it cannot be fitted
    ece_after: float  # with that temperature; NaN where it cannot be fitted
    why_not_scaled: str  # empty where `scaled` is there

    @property
    def temperature(self) -> float | None:
        """The one that would calibrate the probabilities of other images: logits are divided by it."""
        return self.scaled.temperature if self.scaled else None

    @property
    def sentence(self) -> str:
        """The finding."""
        if not self.images:
            return "The network has an answer for no image, so nothing is known of its probabilities."
        gap = 100 * (self.confidence - self.accuracy)
        finding = f"The network says {self.confidence:.2f} on average and is right in {self.accuracy:.2f} of the images"
        if abs(gap) < 100 * NEGLIGIBLE:
            verdict = "on average its probabilities are right"
        else:
            verdict = f"{'overconfident' if gap > 0 else 'underconfident'} by {abs(gap):.1f} points"
        return f"{finding}: {verdict} (expected calibration error {100 * self.ece:.1f} points). {self._remedy()}"

    def _remedy(self) -> str:
        if self.scaled is None:
            return f"No temperature is fitted: {self.why_not_scaled}."
        losses = f"from {self.scaled.loss_before:.3f} to {self.scaled.loss:.3f}"
        if self.scaled.loss >= self.scaled.loss_before:
            return (
                "No temperature would help: fitted to one half of the images, it changes the loss on the other half "
                f"{losses}."
            )
        return (
            f"Logits divided by a temperature of {self.scaled.temperature:.2f} would bring it to "
            f"{100 * self.ece_after:.1f} points, and the loss {losses} (each half of the images judged with the "
            "temperature of the other)."
        )


def calibration(images: EvaluatedImages) -> Calibration:
    """How far the probabilities of the first answers can be trusted, and the temperature that would calibrate them."""
    answered = ~images.unanswered
    confidence, correct = images.confidence[answered], images.correct[answered]
    bins = reliability(confidence, correct)
    count = len(correct)
    scaled, why_not = fit_temperature(images)
    after = expected_calibration_error(reliability(scaled.confidence[answered], correct)) if scaled else np.nan
    return Calibration(
        bins=bins,
        images=count,
        unanswered=len(images) - count,
        confidence=float(confidence.mean()) if count else np.nan,
        accuracy=float(correct.mean()) if count else np.nan,
        ece=expected_calibration_error(bins),
        scaled=scaled,
        ece_after=after,
        why_not_scaled=why_not,
    )


def reliability(confidence: np.ndarray, correct: np.ndarray) -> pd.DataFrame:
    """A row a bin: its ends, the `images` in it, their mean `confidence` and `accuracy` with 95 % Wilson interval.

    Bins have equal width and include their upper end. There are 15, or fewer where that would leave less than 20 images
    a bin on average. What an empty bin has is NaN.
    """
    number = int(np.clip(len(confidence) // IMAGES_PER_BIN, 1, BINS))
    edges = np.linspace(0, 1, number + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, number - 1)
    count = np.bincount(place, minlength=number)
    right = np.bincount(place, weights=correct, minlength=number)
    known = np.where(count == 0, np.nan, count)
    low, high = wilson(right, count)
    return pd.DataFrame(
        {
            "low": edges[:-1],
            "high": edges[1:],
            "images": count,
            "confidence": np.bincount(place, weights=confidence, minlength=number) / known,
            "accuracy": right / known,
            "accuracy_low": low,
            "accuracy_high": high,
        }
    )


def expected_calibration_error(bins: pd.DataFrame) -> float:
    """ECE: the difference of confidence and accuracy, averaged over the images bin by bin. 0 to 1; NaN for no image."""
    gaps = (bins["confidence"] - bins["accuracy"]).abs()
    images = int(bins["images"].sum())
    return float((gaps * bins["images"]).sum() / images) if images else float("nan")
