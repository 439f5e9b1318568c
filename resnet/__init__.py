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
    from resnet.classifier import load_classifier  # only here: it imports TensorFlow, which takes six seconds

    return load_classifier(folder)
