"""Network and weights to answers: logits of images, what is kept of them, their errors, and intervals around these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from scipy.special import log_softmax

from resnet.devices import deal, gathered, share
from resnet.model.network import ResNet

LIKELIEST = 5  # classes of an image that are kept


class Predictor:
    """Logits of images, on all devices of the strategy, with the stored statistics. With several hosts, each gives the
    images for its own devices, and all get the logits of all.

    Some kernels add up a few images in another order than many: in the last bits, an image's logits depend on how many
    a device has at a time. With `block`, each device always has that many, filled up with empty images: then they do
    not depend on it, if the blocks begin at the same images.
    """

    def __init__(self, network: ResNet, strategy: tf.distribute.Strategy, block: int = 0):
        self._strategy, self._block = strategy, block
        self._own = len(strategy.extended.worker_devices)
        spread = self.devices > self._own

        def logits(images: tf.Tensor) -> tf.Tensor:
            found = network(images, training=False)[0]
            return gathered(found).in_order() if spread else found

        self._run = tf.function(
            lambda images: strategy.run(logits, args=(images,)), autograph=False, reduce_retracing=True
        )

    def __call__(self, images: np.ndarray, of_all: int | None = None) -> np.ndarray:
        """Float32 logits [n, classes] of uint8 images [n, height, width, 3], for any n, or up to a block a device.

        With several hosts, `of_all` is the number of images of all of them, and a block a device is needed: their
        images come one host after the other, and only the last may be fewer.
        """
        room = self._own * max(self._block, 1)
        padding = -len(images) % room if len(images) else room  # devices take equal shares
        if self._block and len(images) > room:
            raise ValueError(f"{len(images)} images are more than {self._own} blocks of {self._block}")
        filled = np.concatenate([images, np.zeros((padding, *images.shape[1:]), np.uint8)]) if padding else images
        logits = self._strategy.experimental_local_results(self._run(share(self._strategy, filled)))
        if of_all is not None and self.devices > self._own:
            return np.concatenate(logits[0].numpy())[:of_all]  # every device has those of all
        return np.concatenate([part.numpy() for part in logits])[: len(images)]

    def of_any_size(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Likewise of up to one image a device, each uint8 [1, height, width, 3] in a size of its own."""
        absent = [images[0]] * (self.devices - len(images))
        logits = self._strategy.experimental_local_results(self._run(deal(self._strategy, [*images, *absent])))
        return np.concatenate([part.numpy() for part in logits])[: len(images)]

    @property
    def devices(self) -> int:
        """How many devices there are, on all hosts."""
        return self._strategy.num_replicas_in_sync


def label_ranks(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """How many other classes are at least as likely as the label's: int32 [n]. Rank 0 is a right top-1 answer.

    Ties count against the network: one that answers the same for all classes, or NaN, is always wrong.
    """
    own = tf.gather(logits, labels, batch_dims=1)[:, None]
    return tf.reduce_sum(tf.cast(tf.logical_not(logits < own), tf.int32), 1) - 1


class Answers(NamedTuple):
    """What is kept of the logits of images, a row an image: the logits of all images would fill the memory."""

    labels: np.ndarray  # int32 [n]
    log_likelihoods: np.ndarray  # of the labels, float64 [n]: the negative of the cross-entropy
    ranks: np.ndarray  # of the labels, int32 [n]: see `label_ranks`
    likeliest: np.ndarray  # the LIKELIEST classes (or all, where there are fewer), likeliest first, int64 [n, 5]
    probabilities: np.ndarray  # of these, float64 [n, 5]


def answers_of(logits: np.ndarray, labels: np.ndarray) -> Answers:
    """Reduce a batch's float32 logits [n, classes] to what is kept of them."""
    log_probabilities = log_softmax(logits.astype(np.float64), 1)
    places = likeliest(logits, LIKELIEST)
    return Answers(
        labels,
        log_probabilities[np.arange(len(labels)), labels],
        label_ranks(logits, labels).numpy(),
        places,
        np.exp(np.take_along_axis(log_probabilities, places, 1)),
    )


def joined(parts: Sequence[Answers]) -> Answers:
    """The answers of several batches as one."""
    return Answers(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def likeliest(logits: np.ndarray, places: int) -> np.ndarray:
    """np.argsort(-logits, kind="stable")[:, :places]: ties in the order of the classes, NaN last. int64 [n, places].

    Sorting takes far longer than looking for the greatest a few times, so only rows that are not finite are sorted.
    """
    found = np.empty((len(logits), min(places, logits.shape[1])), np.int64)
    finite = np.isfinite(logits).all(1)
    found[~finite] = np.argsort(-logits[~finite], axis=1, kind="stable")[:, : found.shape[1]]
    left = logits[finite]
    for place in range(found.shape[1]):
        greatest = left.argmax(1)
        found[finite, place] = greatest
        left[np.arange(len(left)), greatest] = -np.inf
    return found


def scores(answers: Answers) -> dict[str, float]:
    """Mean cross-entropy, top-1 and top-5 error in percent."""
    return {
        "loss": float(-answers.log_likelihoods.mean()),
        "top1_error": float(100 * np.mean(answers.ranks >= 1)),
        "top5_error": float(100 * np.mean(answers.ranks >= 5)),
    }


def summary(answers: Answers) -> dict[str, Any]:
    """The scores, and the 95 % intervals of the errors (Wilson 1927) in percent."""
    from scipy.stats import binomtest  # only here: importing it takes half a second, and training does not need it

    result: dict[str, Any] = dict(scores(answers))
    images = len(answers.labels)
    for name in ("top1_error", "top5_error"):
        wrong = round(result[name] * images / 100)
        interval = binomtest(wrong, images).proportion_ci(0.95, method="wilson")
        result[f"{name}_interval"] = [100 * float(interval.low), 100 * float(interval.high)]
    return result
