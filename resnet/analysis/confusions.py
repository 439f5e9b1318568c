"""Which classes are taken for which others."""

from __future__ import annotations

import numpy as np
import pandas as pd

from resnet.analysis.answers import EvaluatedImages, identifiers_and_names


def confusion_matrix(images: EvaluatedImages) -> np.ndarray:
    """How often each label (row) got each answer (column), int64 [classes, classes]. For some thousand classes at most.

    Unanswered images are in no column: a row then adds up to less than the images of its class.
    """
    size = len(images.classes)
    answered = ~images.unanswered
    pairs = images.labels[answered] * size + images.predicted[answered]
    return np.bincount(pairs, minlength=size**2).reshape(size, size)


def confused_pairs(images: EvaluatedImages, most: int = 10) -> pd.DataFrame:
    """The most frequent mistakes, a row a pair: `label`, `label_name`, `predicted`, `predicted_name`, `images` that
    were taken so, and `of` how many images of the label. The most frequent first, then by identifier."""
    wrong = ~images.correct & ~images.unanswered
    pairs = np.stack([images.labels[wrong], images.predicted[wrong]], 1)
    pairs, times = np.unique(pairs, axis=0, return_counts=True)
    label, label_name = identifiers_and_names(images, pairs[:, 0])
    predicted, predicted_name = identifiers_and_names(images, pairs[:, 1])
    table = pd.DataFrame(
        {
            "label": label,
            "label_name": label_name,
            "predicted": predicted,
            "predicted_name": predicted_name,
            "images": times,
            "of": np.bincount(images.labels, minlength=len(images.classes))[pairs[:, 0]],
        }
    )
    table = table.sort_values(["images", "label", "predicted"], ascending=[False, True, True])
    return table.head(most).reset_index(drop=True)
