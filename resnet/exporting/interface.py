"""The interface that every exported network has, and the facts that stand in its file.

images         uint8 RGB [n, size, size, 3], any n; normalisation is part of the network
probabilities  float32 [n, classes]
logits         float32 [n, classes]
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from resnet.classifier import Classifier
from resnet.exporting.folding import folded
from resnet.report.names import readable


class Answer(NamedTuple):
    """What a network says of n images: float32 [n, classes] each."""

    probabilities: np.ndarray
    logits: np.ndarray


Answerer = Callable[[np.ndarray], Answer]


class Interface(tf.Module):
    """A classifier as it is exported. `answer` maps images to a dictionary of probabilities and logits.

    `facts` is what a user of the file needs besides, as JSON: how images are made for the network, and its classes,
    each with identifier and name, in the order of the outputs.
    """

    def __init__(self, classifier: Classifier):
        super().__init__()
        recipe, network = classifier.recipe, folded(classifier.network)
        size = recipe.evaluation_size
        self.network = network
        # Identifiers are exact. Names are for people, and valid UTF-8 in every file.
        self.classes = [(identifier, readable(name)) for identifier, name in classifier.classes]
        self.facts: dict[str, Any] = {
            "network": f"resnet{network.depth}",
            "image_size": size,
            "shorter_side": recipe.evaluation.shorter_side,
            "interpolation": recipe.evaluation.interpolation,
            "classes": [list(names) for names in self.classes],
        }
        images = tf.TensorSpec([None, size, size, 3], tf.uint8, name="images")
        self.answer = tf.function(self._answer, input_signature=[images], autograph=False)

    def _answer(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        logits, _ = self.network(images, training=False)
        return {"probabilities": tf.nn.softmax(logits), "logits": logits}

    def facts_file(self) -> bytes:
        """The facts as a JSON file. It is ASCII, so that identifiers that are not UTF-8 survive in it."""
        return (json.dumps(self.facts, indent=1) + "\n").encode("ascii")
