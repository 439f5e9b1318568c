"""One training step: forward, backward, average over all replicas and devices, update. One tf.function."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from resnet.devices import share
from resnet.inference import label_ranks
from resnet.model.network import ResNet
from resnet.settings import Training
from resnet.training.optimizer import Sgd

MOVING_DECAY = 0.9  # of the moving statistics that validation during training uses; BatchNormStatistics replaces them
METRICS = ("loss", "top1_error", "top5_error")


class TrainStep:
    """Callable: one step on a batch. It changes the network's weights and moving statistics.

    Make it inside the strategy's scope.
    """

    def __init__(self, network: ResNet, strategy: tf.distribute.Strategy, training: Training):
        self._network, self._strategy, self._training = network, strategy, training
        self._replicas = training.replicas // strategy.num_replicas_in_sync  # of each device
        self._trained = network.trained
        self.optimizer = Sgd(self._trained, training)
        self._run = tf.function(self._on_all_devices, autograph=False, reduce_retracing=False)

    def __call__(self, images: np.ndarray, labels: np.ndarray, learning_rate: float) -> tf.Tensor:
        """Train on uint8 [n, size, size, 3] and int32 [n]; returns the batch's METRICS, float32 [3]."""
        return self._run(share(self._strategy, images), share(self._strategy, labels), tf.constant(learning_rate))

    def gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """The averaged gradients of the trained variables, and the metrics, without an update."""

        @tf.function(autograph=False)
        def averaged(images: tf.Tensor, labels: tf.Tensor) -> tuple:
            return self._strategy.run(lambda x, y: self._averages(x, y)[::2], args=(images, labels))

        gradients, metrics = averaged(share(self._strategy, images), share(self._strategy, labels))
        first = self._strategy.experimental_local_results
        return [first(gradient)[0].numpy() for gradient in gradients], first(metrics)[0].numpy()

    def _on_all_devices(self, images: tf.Tensor, labels: tf.Tensor, learning_rate: tf.Tensor) -> tf.Tensor:
        metrics = self._strategy.run(self._on_one_device, args=(images, labels, learning_rate))
        return self._strategy.experimental_local_results(metrics)[0]  # averaged already: the same on each device

    def _on_one_device(self, images: tf.Tensor, labels: tf.Tensor, learning_rate: tf.Tensor) -> tf.Tensor:
        gradients, statistics, metrics = self._averages(images, labels)
        tf.distribute.get_replica_context().merge_call(self._update, (gradients, statistics, learning_rate))
        return metrics

    def _averages(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[list, list, tf.Tensor]:
        """Gradients, batch statistics and metrics, averaged over the replicas of all devices."""
        sums = self._sum_over_replicas(images, labels)
        total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, sums)
        count = self._replicas * self._strategy.num_replicas_in_sync
        averages = [tensor / count for tensor in total] if count > 1 else total
        trained = len(self._trained)
        return averages[:trained], averages[trained:-1], averages[-1]

    def _sum_over_replicas(self, images: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
        size = self._training.replica_batch_size
        sums = self._of_one_replica(images[:size], labels[:size])
        if self._replicas == 1:
            return sums

        def add(replica: tf.Tensor, *sums: tf.Tensor) -> list:
            rows = slice(replica * size, (replica + 1) * size)
            more = self._of_one_replica(images[rows], labels[rows])
            return [replica + 1, *(a + b for a, b in zip(sums, more, strict=True))]

        # One replica after the other: their activations are never in memory together.
        loop = tf.while_loop(lambda replica, *_: replica < self._replicas, add, [1, *sums], parallel_iterations=1)
        return list(loop[1:])

    def _of_one_replica(self, images: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
        """Gradients, then mean and variance of each batch normalisation, then the metrics."""
        images = tf.ensure_shape(images, [self._training.replica_batch_size, *images.shape[1:]])
        with tf.GradientTape() as tape:
            logits, statistics = self._network(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        gradients = tape.gradient(loss, self._trained)
        flat = [moment for mean_and_variance in statistics for moment in mean_and_variance]
        return [*gradients, *flat, tf.stack([loss, *errors(logits, labels)])]

    def _update(self, strategy: tf.distribute.Strategy, gradients: list, statistics: list, learning_rate: list) -> None:
        def move(stored: tf.Variable, new: tf.Tensor) -> None:
            stored.assign(MOVING_DECAY * stored + (1 - MOVING_DECAY) * new)

        self.optimizer.update(strategy, gradients, learning_rate)
        stored = [variable for norm in self._network.norms for variable in (norm.mean, norm.variance)]
        for variable, new in zip(stored, statistics, strict=True):
            strategy.extended.update(variable, move, args=(new,))


def errors(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Top-1 and top-5 error in percent."""
    ranks = label_ranks(logits, labels)
    top1, top5 = [tf.reduce_mean(tf.cast(ranks >= k, tf.float32)) for k in (1, 5)]
    return 100 * top1, 100 * top5
