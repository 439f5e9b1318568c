"""Errors of each class: which ones fail, and how sure that is."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from resnet.analysis.answers import EvaluatedImages, identifiers_and_names
from resnet.analysis.intervals import wilson


def per_class(images: EvaluatedImages) -> pd.DataFrame:
    """A row a class, in label order: `class`, `name`, `images` of the class, `errors` among them, `error` in percent
    with its 95 % Wilson interval (`low`, `high`), `precision`, `recall` and `f1` (0 to 1).

    What cannot be known is NaN: the error of a class without images, the precision of a class that was never answered.
    """
    labels = np.arange(len(images.classes))
    identifiers, names = identifiers_and_names(images, labels)
    count = np.bincount(images.labels, minlength=len(labels))
    errors = np.bincount(images.labels[~images.correct], minlength=len(labels))
    low, high = wilson(errors, count)
    answers = np.where(images.unanswered, -1, images.predicted)
    precision, recall, f1, _ = precision_recall_fscore_support(
        images.labels, answers, labels=labels, zero_division=np.nan
    )
    return pd.DataFrame(
        {
            "class": identifiers,
            "name": names,
            "images": count,
            "errors": errors,
            "error": 100 * errors / np.where(count == 0, np.nan, count),
            "low": 100 * low,
            "high": 100 * high,
            "precision": precision,
            "recall": recall,
            "f1": f1,
        }
    )
