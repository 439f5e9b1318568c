"""The loss of an image: how far its logits are from what its label asks for."""

from __future__ import annotations

import tensorflow as tf

from resnet.settings import Training


class Loss:
    """Callable: float32 [n] of float32 logits [n, classes] and int32 labels [n].

    What a label asks for is probability 1 for its class, or with label smoothing e

        1 - e + e / classes  for its class,  e / classes  for all others    (Szegedy et al. 2016)

    Binary, each class is one question, and the loss is the mean over all of them, as in timm.
    """

    def __init__(self, training: Training):
        self._is_binary, self._smoothing = training.loss == "binary", training.label_smoothing

    def __call__(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        if not self._is_binary and not self._smoothing:
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        asked = self._asked(labels, logits.shape[1])
        if self._is_binary:
            return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(asked, logits), 1)
        return tf.nn.softmax_cross_entropy_with_logits(asked, logits)

    def _asked(self, labels: tf.Tensor, classes: int) -> tf.Tensor:
        """The probabilities that labels ask for, [n, classes]."""
        rest = self._smoothing / classes
        return tf.one_hot(labels, classes, on_value=1 - self._smoothing + rest, off_value=rest)
