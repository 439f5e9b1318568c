"""Images whose label is likely wrong, by confident learning (Northcutt et al. 2021), as cleanlab has it."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import softmax

from resnet.analysis.answers import NO_LOGITS, EvaluatedImages, identifiers_and_names
from resnet.analysis.baseline import SIGNIFICANCE, p_value_against_chance

# Probabilities that cleanlab gets at once. It makes copies and keeps one of them, and needs the square of the classes.
WEAK = 10.0  # percent: above this error, a network doubts many labels that are right
LARGEST = 10_000_000
NOT_LOOKED_FOR = "Likely label errors are not looked for"
INSTALL = "pip install 'cleanlab>=2.9'"  # as pyproject.toml has it
ROUNDING = 1e-6  # by so much a probability may miss a threshold, as in cleanlab


class LabelErrors(NamedTuple):
    """What was found. `table` is None where it cannot be looked for; the sentence then says why."""

    table: pd.DataFrame | None
    sentence: str


def likely_label_errors(images: EvaluatedImages) -> LabelErrors:
    """The images whose label is likely wrong, the likeliest first, a row an image: `row` in predictions.csv, `file`,
    `label`, `label_name`, `label_probability`, `suggested`, `suggested_name`, `probability`.

    Up to LARGEST probabilities this is cleanlab's `find_label_issues` with its defaults. Above, its variant
    `filter_by="confident_learning"` is computed block by block. Unanswered images are not looked at; nor is anything if
    the network is no better than chance, whose answers say nothing of labels.
    """
    if images.logits is None:
        return LabelErrors(None, f"{NOT_LOOKED_FOR}: {NO_LOGITS}.")
    try:
        import cleanlab  # noqa: F401  an optional extra, which takes two seconds to import
    except ImportError:
        return LabelErrors(None, f"{NOT_LOOKED_FOR}: cleanlab is missing. Install it into this environment: {INSTALL}")
    answered = np.flatnonzero(~images.unanswered)
    if len(np.unique(images.labels[answered])) < 2:
        return LabelErrors(None, f"{NOT_LOOKED_FOR}: that needs answers for two classes.")
    if p_value_against_chance(images.labels[answered], images.correct[answered]) >= SIGNIFICANCE:
        return LabelErrors(None, f"{NOT_LOOKED_FOR}: that needs a network that is better than chance.")
    whole = len(images) * len(images.classes) <= LARGEST
    rows = _in_memory(images, answered) if whole else _in_blocks(images)
    table = _table(images, rows)
    alone = int((np.bincount(images.labels[answered]) == 1).sum()) if whole else 0
    return LabelErrors(table, _sentence(len(table), len(images), alone, images.error))


def _in_memory(images: EvaluatedImages, answered: np.ndarray) -> np.ndarray:
    from cleanlab.filter import find_label_issues

    probabilities = np.concatenate([softmax(logits, 1) for _, logits in images.logit_blocks()])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "May not flag all label issues in class")  # the sentence says so
        found = find_label_issues(
            images.labels[answered],
            probabilities[answered],
            return_indices_ranked_by="self_confidence",
            n_jobs=1,
        )
    return answered[found]


def _in_blocks(images: EvaluatedImages) -> np.ndarray:
    """The images whose first answer is not the label, and that reach the threshold of another class than the label's.

    The threshold of a class is its mean probability in the images that are labelled with it.
    """
    own = _label_probabilities(images)
    thresholds = pd.Series(own).groupby(images.labels).mean().reindex(range(len(images.classes)), fill_value=np.inf)
    reaches = np.zeros(len(images), bool)
    for rows, logits in images.logit_blocks():
        probabilities = softmax(logits, 1)
        probabilities[np.arange(len(logits)), images.labels[rows]] = -1
        reaches[rows] = (probabilities >= thresholds.to_numpy() - ROUNDING).any(1)
    found = np.flatnonzero(reaches & ~images.correct & ~images.unanswered)
    return found[np.argsort(own[found], kind="stable")]


def _label_probabilities(images: EvaluatedImages) -> np.ndarray:
    """The probability of each image's label, float64 [n]; NaN where the image is unanswered."""
    found = np.full(len(images), np.nan)
    for rows, logits in images.logit_blocks():
        found[rows] = softmax(logits, 1)[np.arange(len(logits)), images.labels[rows]]
    found[images.unanswered] = np.nan
    return found


def _table(images: EvaluatedImages, rows: np.ndarray) -> pd.DataFrame:
    label, label_name = identifiers_and_names(images, images.labels[rows])
    other, other_name = identifiers_and_names(images, images.predicted[rows])
    return pd.DataFrame(
        {
            "row": rows,
            "file": pd.Series([images.files[row] for row in rows], dtype=object),
            "label": label,
            "label_name": label_name,
            "label_probability": _label_probabilities(images)[rows],
            "suggested": other,
            "suggested_name": other_name,
            "probability": images.confidence[rows],
        }
    )


def _sentence(found: int, images: int, alone: int, error: float) -> str:
    """`alone`: how many classes have a single image, whose label cleanlab leaves unjudged. `error`: in percent."""
    if found:
        labels = "1 label" if found == 1 else f"{found:,} labels"
        sentence = f"{labels} of {images:,} ({100 * found / images:.1f} %) may be wrong: look at these images."
        if error > WEAK:
            sentence += f" The network errs on {error:.0f} % of all, so many of them may be its own mistakes."
    else:
        sentence = f"None of the labels of the {images:,} images looks wrong."
    if alone:
        classes = "1 class has" if alone == 1 else f"{alone:,} classes have"
        sentence += f" {classes} a single image, whose label cannot be judged."
    return sentence
