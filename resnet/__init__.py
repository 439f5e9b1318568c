"""Everything the stages do, usable without Luigi: `python -m resnet STAGE`.

And, from Python: `resnet.load_classifier("artifacts/runs/digits").predict(["image.png"])`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resnet.classifier import Classifier


def load_classifier(folder: str | os.PathLike[str]) -> Classifier:
    """The classifier in a run's folder: see `resnet.classifier.load_classifier`."""
    from resnet.stages import without_startup_notes

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's notes on itself
    with without_startup_notes():
        from resnet.classifier import load_classifier  # only here: importing TensorFlow takes six seconds
    return load_classifier(folder)
