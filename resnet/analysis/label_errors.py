"""Images whose label is likely wrong, by confident learning (Northcutt et al. 2021), as cleanlab has it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import softmax

from resnet.analysis.answers import EvaluatedImages, identifiers_and_names

# Probabilities that cleanlab gets at once: it makes copies, and keeps one of them. Above, they are computed in blocks.
LARGEST = 10_000_000
BLOCK = 4_000_000


class LabelErrors(NamedTuple):
    """What was found. `table` is None where it cannot be looked for; the sentence then says why."""

    table: pd.DataFrame | None
    sentence: str


def likely_label_errors(images: EvaluatedImages) -> LabelErrors:
    """The images whose label is likely wrong, the likeliest first, a row an image: `row` in predictions.csv, `file`,
    `label`, `label_name`, `label_probability`, `suggested`, `suggested_name`, `probability`.

    Up to LARGEST probabilities this is cleanlab's `find_label_issues` with its defaults. Above, it is cleanlab's method
    for blocks: it estimates how many labels are wrong and takes those with the lowest probability, which names the
    same images or fewer. Unanswered images are not looked at.
    """
    if images.logits is None:
        return LabelErrors(None, "Likely label errors are not looked for: the evaluation has no logits.npy.")
    try:
        import cleanlab  # noqa: F401  an optional extra, which takes two seconds to import
    except ImportError:
        return LabelErrors(
            None, "Likely label errors are not looked for: cleanlab is missing. Install resnet-pipeline[labels]."
        )
    answered = np.flatnonzero(~images.unanswered)
    if len(np.unique(images.labels[answered])) < 2:
        return LabelErrors(None, "Likely label errors are not looked for: that needs answers for two classes.")
    whole = len(images) * len(images.classes) <= LARGEST
    rows = _in_memory(images, answered) if whole else _in_blocks(images)
    table = _table(images, rows)
    return LabelErrors(table, _sentence(len(table), len(images)))


def _in_memory(images: EvaluatedImages, answered: np.ndarray) -> np.ndarray:
    from cleanlab.filter import find_label_issues

    probabilities = np.concatenate([softmax(logits, 1) for _, logits in images.logit_blocks()])
    found = find_label_issues(
        images.labels[answered],
        probabilities[answered],
        return_indices_ranked_by="self_confidence",
        n_jobs=1,
    )
    return answered[found]


def _in_blocks(images: EvaluatedImages) -> np.ndarray:
    from cleanlab.experimental.label_issues_batched import LabelInspector

    inspector = LabelInspector(num_class=len(images.classes), verbose=False, n_jobs=1)
    for read in (inspector.update_confident_thresholds, inspector.score_label_quality):
        for rows, logits in images.logit_blocks(BLOCK):
            answered = ~images.unanswered[rows]
            if answered.any():
                read(images.labels[rows][answered], softmax(logits[answered], 1))
    found = np.flatnonzero(~images.unanswered)[inspector.get_label_issues()]
    return found[~images.correct[found]]


def _table(images: EvaluatedImages, rows: np.ndarray) -> pd.DataFrame:
    assert images.logits is not None
    logits = np.array([images.logits[row] for row in rows], np.float64).reshape(-1, len(images.classes))
    labels, suggested = images.labels[rows], images.predicted[rows]
    label, label_name = identifiers_and_names(images, labels)
    other, other_name = identifiers_and_names(images, suggested)
    return pd.DataFrame(
        {
            "row": rows,
            "file": pd.Series([images.files[row] for row in rows], dtype=object),
            "label": label,
            "label_name": label_name,
            "label_probability": softmax(logits, 1)[np.arange(len(rows)), labels],
            "suggested": other,
            "suggested_name": other_name,
            "probability": images.confidence[rows],
        }
    )


def _sentence(found: int, images: int) -> str:
    if not found:
        return f"None of the labels of the {images:,} images looks wrong."
    labels = "1 label" if found == 1 else f"{found:,} labels"
    return f"{labels} of {images:,} ({100 * found / images:.1f} %) may be wrong: look at these images."
