"""The temperature that calibrates a network: one number that its logits are divided by (Guo et al. 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from resnet.analysis.answers import NO_LOGITS, EvaluatedImages

BOUNDS = (0.05, 20.0)  # temperatures
TOLERANCE = 1e-3  # of the temperature's logarithm
FEWEST = 20  # images that a temperature is fitted to


@dataclass(frozen=True)
class Scaled:
    """A fitted temperature, and what it changes.

    `loss` and `confidence` are judged fairly: each half of the images with the temperature fitted to the other half.
    """

    temperature: float  # of all images: the one to use
    loss_before: float  # mean cross-entropy of the answered images
    loss: float
    confidence: np.ndarray  # the probability of the first answer, float64 [n]; NaN where the image is unanswered


def fit_temperature(images: EvaluatedImages) -> tuple[Scaled | None, str]:
    """The temperature with the least mean cross-entropy on these images, or None and why there is none.

    The logits are read block by block some 30 times, so memory does not grow with them.
    """
    if images.logits is None:
        return None, NO_LOGITS
    answered = ~images.unanswered
    if answered.sum() < FEWEST:
        return None, f"that needs {FEWEST} images with an answer"
    with np.errstate(over="ignore"):
        before, _ = _scaled(images, np.ones(len(images)))
    if not np.isfinite(before[answered]).all():
        return None, "the network gave a label the probability 0, so its loss is infinite"
    in_first = np.random.default_rng(0).permutation(len(images)) % 2 == 0
    first, second = (_best(images, answered & half, BOUNDS) for half in (in_first, ~in_first))
    # The loss has one minimum, so that of all images lies between those of the halves.
    best = _best(images, answered, (min(first, second), max(first, second)))
    losses, confidence = _scaled(images, np.where(in_first, second, first))
    confidence[images.unanswered] = np.nan
    return Scaled(best, float(before[answered].mean()), float(losses[answered].mean()), confidence), ""


def _best(images: EvaluatedImages, chosen: np.ndarray, bounds: tuple[float, float]) -> float:
    """The temperature within the bounds that minimises the mean cross-entropy of the chosen images."""

    def loss(logarithm: float) -> float:
        return float(_scaled(images, np.full(len(images), math.exp(logarithm)), chosen)[0][chosen].mean())

    low, high = np.log(bounds)
    if high - low < TOLERANCE:
        return float(np.exp((low + high) / 2))
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), options={"xatol": TOLERANCE}).x))


def _scaled(
    images: EvaluatedImages, temperatures: np.ndarray, chosen: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Cross-entropy and greatest probability of each image at its temperature, float64 [n]; NaN if not chosen."""
    losses, confidence = np.full((2, len(images)), np.nan)
    for rows, logits in images.logit_blocks():
        rows_chosen = np.arange(rows.start, rows.start + len(logits))
        if chosen is not None:
            logits, rows_chosen = logits[chosen[rows]], rows_chosen[chosen[rows]]
        greatest = logits.max(1, keepdims=True)
        own = (logits[np.arange(len(logits)), images.labels[rows_chosen]] - greatest[:, 0]) / temperatures[rows_chosen]
        logits -= greatest
        logits /= temperatures[rows_chosen, None].astype(np.float32)
        total = np.exp(logits, out=logits).sum(1).astype(np.float64)
        losses[rows_chosen] = np.log(total) - own
        confidence[rows_chosen] = 1 / total
    return losses, confidence
