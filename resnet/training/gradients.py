"""The gradients of a micro-batch: some of the recipe's replicas, which a device runs in one pass."""

from __future__ import annotations

import math

import tensorflow as tf

from resnet.inference import label_ranks
from resnet.model.network import ResNet
from resnet.settings import Training
from resnet.training.losses import Loss
from resnet.training.mixing import mixed

METRICS = ("loss", "top1_error", "top5_error")
GRADIENT_NORM = "gradient_norm"  # of all averaged gradients together, before they are clipped


class Gradients:
    """Callable: sums over the replicas of a micro-batch, whose batch-norm statistics are apart.

    `replicas`: how many there are in a micro-batch.
    """

    def __init__(self, network: ResNet, replicas: int, training: Training, loss: Loss):
        self._network, self._trained, self._loss = network, network.trained, loss
        self._replicas, self._replica_size = replicas, training.replica_batch_size
        self._run = tf.function(self._sums, autograph=False, jit_compile=True) if training.xla else self._sums

    def __call__(
        self, images: tf.Tensor, labels: tf.Tensor, loss_scale: tf.Tensor, mixes: tf.Tensor | None = None
    ) -> list[tf.Tensor]:
        """Of uint8 images [n, size, size, 3] and int32 labels [n]: gradients times `loss_scale`, then mean and variance
        of each batch normalisation, then the METRICS [3]. All float32.

        `mixes`: of each replica, float32 [replicas, 5] (see `resnet.loader.mixing`). The errors are then those of the
        label with the greater share.
        """
        return self._run(images, labels, loss_scale, mixes)

    def _sums(
        self, images: tf.Tensor, labels: tf.Tensor, loss_scale: tf.Tensor, mixes: tf.Tensor | None
    ) -> list[tf.Tensor]:
        mix = None if mixes is None else mixed(images, labels, mixes)
        with tf.GradientTape() as tape:
            shown = mix.images if mix else images
            logits, statistics = self._network(shown, training=True, replicas=self._replicas)
            losses = self._loss.of_mixed(logits, labels, *mix[1:]) if mix else self._loss(logits, labels)
            loss = tf.reduce_sum(losses) / self._replica_size
            scaled = loss * loss_scale
        if mix:
            labels = tf.where(mix.shares < 0.5, mix.partners, labels)
        gradients = tape.gradient(scaled, self._trained)
        moments = [moment for mean_and_variance in statistics for moment in mean_and_variance]
        metrics = tf.stack([loss, *(self._replicas * error for error in errors(logits, labels))])
        return [*gradients, *moments, metrics]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of what a call returns."""
        moments = [(norm.channels,) for norm in self._network.norms for _ in ("mean", "variance")]
        return [*(tuple(variable.shape) for variable in self._trained), *moments, (len(METRICS),)]


def errors(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Top-1 and top-5 error in percent."""
    ranks = label_ranks(logits, labels)
    top1, top5 = [tf.reduce_mean(tf.cast(ranks >= k, tf.float32)) for k in (1, 5)]
    return 100 * top1, 100 * top5


def clipped(gradients: list[tf.Tensor], norm: tf.Tensor, greatest: float) -> list[tf.Tensor]:
    """Scaled down, all alike, so that their norm as one vector is `greatest` at most (Pascanu et al. 2013). `norm`:
    what it is."""
    factor = tf.minimum(1.0, greatest / norm)
    return [factor * gradient for gradient in gradients]


def flat(tensors: list[tf.Tensor]) -> tf.Tensor:
    """All their numbers as one vector."""
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0)


def cut(vector: tf.Tensor, shapes: list[tuple[int, ...]]) -> list[tf.Tensor]:
    """The tensors of these shapes that a vector was made of."""
    parts = tf.split(vector, [math.prod(shape) for shape in shapes])
    return [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]
