"""Network and weights to answers: logits of images, their errors, and intervals around these."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from scipy.special import log_softmax
from scipy.stats import binomtest

from resnet.devices import share
from resnet.model.network import ResNet


class Predictor:
    """Logits of images, on all devices of the strategy, with the stored statistics."""

    def __init__(self, network: ResNet, strategy: tf.distribute.Strategy):
        self._strategy = strategy

        def logits(images: tf.Tensor) -> tf.Tensor:
            return network(images, training=False)[0]

        self._run = tf.function(
            lambda images: strategy.run(logits, args=(images,)), autograph=False, reduce_retracing=True
        )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Float32 logits [n, classes] of uint8 images [n, size, size, 3], for any n."""
        count = self._strategy.num_replicas_in_sync
        padding = -len(images) % count  # devices take equal shares; the padding is cut off again
        if padding:
            images = np.concatenate([images, np.zeros((padding, *images.shape[1:]), np.uint8)])
        logits = self._strategy.experimental_local_results(self._run(share(self._strategy, images)))
        return np.concatenate([part.numpy() for part in logits])[: len(logits[0]) * count - padding]


def label_ranks(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """How many other classes are at least as likely as the label's: int32 [n]. Rank 0 is a right top-1 answer.

    Ties count against the network: one that answers the same for all classes, or NaN, is always wrong.
    """
    own = tf.gather(logits, labels, batch_dims=1)[:, None]
    return tf.reduce_sum(tf.cast(tf.logical_not(logits < own), tf.int32), 1) - 1


def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Mean cross-entropy, top-1 and top-5 error in percent."""
    ranks = label_ranks(logits, labels).numpy()
    return {
        "loss": float(-log_softmax(logits.astype(np.float64), 1)[np.arange(len(labels)), labels].mean()),
        "top1_error": float(100 * np.mean(ranks >= 1)),
        "top5_error": float(100 * np.mean(ranks >= 5)),
    }


def summary(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """The scores, and the 95 % intervals of the errors (Wilson 1927) in percent."""
    result: dict[str, Any] = dict(scores(logits, labels))
    for name in ("top1_error", "top5_error"):
        wrong = round(result[name] * len(labels) / 100)
        interval = binomtest(wrong, len(labels)).proportion_ci(0.95, method="wilson")
        result[f"{name}_interval"] = [100 * float(interval.low), 100 * float(interval.high)]
    return result
