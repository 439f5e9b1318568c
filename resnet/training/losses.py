"""The loss of an image: how far its logits are from what its label asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from resnet.errors import UserError
from resnet.settings import Training


class Loss:
    """Callable: float32 [n] of float32 logits [n, classes] and int32 labels [n].

    What a label asks for is probability 1 for its class, or with label smoothing e

        1 - e + e / classes  for its class,  e / classes  for all others    (Szegedy et al. 2016)

    Binary, each class is one question, and the loss is the mean over all of them, as in timm. With `class_weights`, one
    for each class, an image's loss is multiplied by that of its class.

    An image that shows two labels (mixup, CutMix) asks for both, each with its share; with `training.binary_threshold`,
    for probability 1 of each that has a greater share than that, and 0 of all others, as in timm.
    """

    def __init__(self, training: Training, class_weights: Sequence[float] = ()):
        self._is_binary, self._smoothing = training.loss == "binary", training.label_smoothing
        self._threshold = training.binary_threshold if self._is_binary else 0.0
        self._class_weights = class_weights

    def __call__(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        losses = self._unweighted(logits, labels)
        return losses * tf.gather(tf.constant(self._class_weights), labels) if len(self._class_weights) else losses

    def of_mixed(self, logits: tf.Tensor, labels: tf.Tensor, partners: tf.Tensor, shares: tf.Tensor) -> tf.Tensor:
        """Likewise of images with two labels. `shares`: what the first ones count for, float32 [n]."""
        if not self._threshold:  # the loss is linear in what is asked for
            return shares * self(logits, labels) + (1 - shares) * self(logits, partners)
        classes, of_first = logits.shape[1], shares[:, None]
        mixed = of_first * self._asked(labels, classes) + (1 - of_first) * self._asked(partners, classes)
        losses = self._of_asked(logits, tf.cast(mixed > self._threshold, tf.float32))
        if not len(self._class_weights):
            return losses
        weights = tf.constant(self._class_weights)
        return losses * (shares * tf.gather(weights, labels) + (1 - shares) * tf.gather(weights, partners))

    def _unweighted(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        if not self._is_binary and not self._smoothing:
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return self._of_asked(logits, self._asked(labels, logits.shape[1]))

    def _of_asked(self, logits: tf.Tensor, asked: tf.Tensor) -> tf.Tensor:
        """The loss where these probabilities are asked for, [n, classes]."""
        if self._is_binary:
            return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(asked, logits), 1)
        return tf.nn.softmax_cross_entropy_with_logits(asked, logits)

    def _asked(self, labels: tf.Tensor, classes: int) -> tf.Tensor:
        """The probabilities that labels ask for, [n, classes]."""
        rest = self._smoothing / classes
        return tf.one_hot(labels, classes, on_value=1 - self._smoothing + rest, off_value=rest)


def first_loss(training: Training, classes: int) -> float | None:
    """The loss of a network that finds all classes equally likely, as one with random weights nearly does; None where
    it is not known."""
    if training.start_from or training.class_weights != "none":
        return None
    return math.log(2) if training.loss == "binary" else math.log(classes)


def class_weights(training: Training, labels: np.ndarray, classes: int) -> list[float]:
    """The weight of each class, by the labels of all training images; empty where all are alike. Raises UserError."""
    if training.class_weights == "none":
        return []
    if training.class_weights == "balanced":  # as in scikit-learn; a class without images has none to weigh
        images = np.bincount(labels, minlength=classes)
        return (len(labels) / (classes * np.maximum(images, 1))).tolist()
    if len(training.class_weights) != classes:
        raise UserError(
            f"training.class_weights has {len(training.class_weights)} numbers, and the records have {classes} classes."
        )
    return training.class_weights
