"""One training step: forward, backward, average over all replicas and devices, update. One tf.function.

The recipe's replicas keep their batch-norm statistics on any number of devices. A device takes its share of them in
micro-batches, one after the other: of one replica, or of several in one pass.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from resnet.devices import share
from resnet.errors import UserError
from resnet.loader.mixing import Mixer
from resnet.model.network import ResNet
from resnet.settings import Training
from resnet.training.fixed_order import Plan, sum_over_replicas
from resnet.training.gradients import GRADIENT_NORM, METRICS, Gradients, clipped, cut, flat
from resnet.training.loss_scale import LossScale
from resnet.training.losses import Loss, first_loss
from resnet.training.optimizer import assign, optimizer_of
from resnet.training.weight_average import WeightAverage

MOVING_DECAY = 0.9  # of the moving statistics that validation during training uses; BatchNormStatistics replaces them
OF_LOSS_SCALE = ("loss_scale", "skipped_steps")  # the metrics that float16 has besides


PassFunction = Callable[[tf.Tensor], list[tf.Tensor]]  # from a pass's number to the sums over its replicas


class Placed(NamedTuple):
    """A batch on its devices."""

    images: tf.Tensor
    labels: tf.Tensor
    mixes: tf.Tensor | None = None  # of the replicas, where images are mixed


class TrainStep:
    """Callable: one step on a batch. It changes the network's weights and moving statistics.

    Make it inside the strategy's scope. `replicas_at_once`: how many replicas a device runs in one pass; with
    `training.deterministic` it is one, because more would add up their gradients in an order of their own.
    `class_weights`: see `losses.Loss`. `mixer`: draws how the images of a step are mixed; None: not at all.
    """

    def __init__(
        self,
        network: ResNet,
        strategy: tf.distribute.Strategy,
        training: Training,
        replicas_at_once: int = 1,
        class_weights: Sequence[float] = (),
        mixer: Mixer | None = None,
    ):
        if training.deterministic and replicas_at_once > 1:
            raise ValueError("a fixed order of additions needs one replica at a time")
        self._network, self._strategy, self._training, self._mixer = network, strategy, training, mixer
        self._devices, self.replicas_at_once = strategy.num_replicas_in_sync, replicas_at_once
        self._passes, rest = divmod(training.replicas, self._devices * replicas_at_once)
        if rest:
            raise ValueError(
                f"{self._devices} devices cannot share {training.replicas} replicas, {replicas_at_once} at a time"
            )
        self._of_pass = replicas_at_once * training.replica_batch_size  # images
        self._gradients = Gradients(network, replicas_at_once, training, Loss(training, class_weights))
        self._shapes = self._gradients.shapes
        self._trained = len(network.trained)
        self._loss_scale = LossScale() if training.precision == "float16" else None
        self.optimizer = optimizer_of(network.trained, training)
        self.first_loss = first_loss(training, network.classifier.kernel.shape[1])  # what to expect; None: not known
        self._average = WeightAverage(network, training) if training.average else None
        # The names of what a call returns.
        self.metrics = (*METRICS, GRADIENT_NORM, *(OF_LOSS_SCALE if self._loss_scale else ()))
        self._run = tf.function(self.on_all_devices, autograph=False, reduce_retracing=False)

    @property
    def state(self) -> dict[str, tf.Variable]:
        """All that a checkpoint needs besides the network's variables, by name."""
        parts = [part for part in (self.optimizer, self._loss_scale, self._average) if part]
        return {name: variable for part in parts for name, variable in part.state.items()}

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """Inside the block, the network has the weights to validate and keep: with `training.average` the averages."""
        return self._average.applied() if self._average else contextlib.nullcontext()

    def place(self, images: np.ndarray, labels: np.ndarray, number: int = 0) -> Placed:
        """Send uint8 images [n, size, size, 3] and int32 labels [n] of the step of this number to the devices.

        On a CPU nothing is copied. A copy to a GPU waits for the kernels that were queued before it: see `Feed`.
        """
        with self._explaining_lack_of_memory():
            placed = Placed(share(self._strategy, images), share(self._strategy, labels))
            if not self._mixer:
                return placed
            return placed._replace(mixes=share(self._strategy, self._mixer(number, images.shape[1])))

    def __call__(self, images: np.ndarray, labels: np.ndarray, learning_rate: float, number: int = 0) -> tf.Tensor:
        """Train on a batch, that of the step of this number; returns its `metrics`, float32."""
        return self.on(self.place(images, labels, number), learning_rate)

    def on(self, batch: Placed, learning_rate: float) -> tf.Tensor:
        """Likewise on a batch that is there already. On a GPU, the metrics can be read only when the step is done."""
        with self._explaining_lack_of_memory():
            return self._run(batch.images, batch.labels, tf.constant(learning_rate), batch.mixes)

    @contextlib.contextmanager
    def _explaining_lack_of_memory(self) -> Iterator[None]:
        try:
            yield
        except tf.errors.ResourceExhaustedError as error:
            ways = ["a lower replicas_at_once in luigi.cfg"] if self.replicas_at_once > 1 else []
            ways += ["training.precision=bfloat16"] if self._training.precision != "bfloat16" else []
            ways += ["a lower training.replica_batch_size, which changes the batch-norm statistics"]
            raise UserError(
                f"the memory of a device does not hold {self.replicas_at_once} x {self._training.replica_batch_size} "
                f"images at a time ({error.message.splitlines()[0]}): set {', or '.join(ways)}."
            ) from None

    def gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """The averaged gradients of the trained variables, and the metrics, without an update."""

        @tf.function(autograph=False)
        def averages(images: tf.Tensor, labels: tf.Tensor, mixes: tf.Tensor | None) -> tuple:
            return self._strategy.run(self._averages, args=(images, labels, mixes))

        gradients, _, metrics = averages(*self.place(images, labels))
        first = self._strategy.experimental_local_results
        return [first(gradient)[0].numpy() for gradient in gradients], first(metrics)[0].numpy()

    def on_all_devices(
        self, images: tf.Tensor, labels: tf.Tensor, learning_rate: tf.Tensor, mixes: tf.Tensor | None = None
    ) -> tf.Tensor:
        """What a step does, for a `tf.function`."""
        metrics = self._strategy.run(self._on_one_device, args=(images, labels, learning_rate, mixes))
        return self._strategy.experimental_local_results(metrics)[0]  # averaged already: the same on each device

    def _on_one_device(
        self, images: tf.Tensor, labels: tf.Tensor, learning_rate: tf.Tensor, mixes: tf.Tensor | None
    ) -> tf.Tensor:
        gradients, statistics, metrics = self._averages(images, labels, mixes)
        merge_call = tf.distribute.get_replica_context().merge_call
        norm, greatest = tf.linalg.global_norm(gradients), self._training.clip_norm
        limited = clipped(gradients, norm, greatest) if greatest else gradients
        metrics = tf.concat([metrics, [norm]], 0)
        if not self._loss_scale:
            merge_call(self._update, (limited, statistics, learning_rate))
            return metrics
        is_finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients])
        merge_call(self._update, (limited, statistics, learning_rate, is_finite))
        return tf.concat([metrics, [self._loss_scale.value, 1 - tf.cast(is_finite, tf.float32)]], 0)

    def _averages(self, images: tf.Tensor, labels: tf.Tensor, mixes: tf.Tensor | None) -> tuple[list, list, tf.Tensor]:
        """Gradients, batch statistics and metrics, averaged over the replicas of all devices."""
        scale = self._loss_scale.value if self._loss_scale else tf.constant(1.0)

        def of_pass(number: tf.Tensor) -> list[tf.Tensor]:
            start, count = number * self._of_pass, self._of_pass
            own = tf.slice(images, [start, 0, 0, 0], [count, *images.shape[1:]])
            their_mixes = None
            if mixes is not None:
                at_once = self.replicas_at_once
                their_mixes = tf.slice(mixes, [number * at_once, 0], [at_once, mixes.shape[1]])
            return self._gradients(own, tf.slice(labels, [start], [count]), scale, their_mixes)

        sums = self._sum_in_fixed_order(of_pass) if self._training.deterministic else self._sum(of_pass)
        replicas = self._training.replicas
        averages = [tensor / replicas for tensor in sums] if replicas > 1 else sums
        gradients, statistics = averages[: self._trained], averages[self._trained : -1]
        if self._loss_scale:
            gradients = [gradient / scale for gradient in gradients]
        return gradients, statistics, averages[-1]

    def _sum_in_fixed_order(self, of_pass: PassFunction) -> list[tf.Tensor]:
        """Over the passes of all devices: the same bits for any number of them."""
        if self._training.replicas == 1:
            return of_pass(tf.constant(0))
        plan = Plan.of(self._training.replicas, self._devices)
        size = sum(math.prod(shape) for shape in self._shapes)
        return cut(sum_over_replicas(lambda number: flat(of_pass(number)), plan, size), self._shapes)

    def _sum(self, of_pass: PassFunction) -> list[tf.Tensor]:
        """Likewise in whatever order is fast."""
        sums = of_pass(tf.constant(0))
        if self._passes > 1:

            def add(number: tf.Tensor, *sums: tf.Tensor) -> list:
                return [number + 1, *(a + b for a, b in zip(sums, of_pass(number), strict=True))]

            # One pass after the other: their activations are never in memory together.
            loop = tf.while_loop(lambda number, *_: number < self._passes, add, [1, *sums], parallel_iterations=1)
            sums = list(loop[1:])
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, sums)

    def _update(
        self,
        strategy: tf.distribute.Strategy,
        gradients: list,
        statistics: list,
        learning_rate: tf.Tensor,
        is_finite: tf.Tensor | None = None,
    ) -> None:
        def move(stored: tf.Variable, new: tf.Tensor, applies: tf.Tensor | None) -> None:
            assign(stored, MOVING_DECAY * stored + (1 - MOVING_DECAY) * new, applies)

        self.optimizer.update(strategy, gradients, learning_rate, is_finite)
        stored = [variable for norm in self._network.norms for variable in (norm.mean, norm.variance)]
        for variable, new in zip(stored, statistics, strict=True):
            strategy.extended.update(variable, move, args=(new, is_finite))
        if self._loss_scale:
            self._loss_scale.update(strategy, is_finite)
        if self._average:
            self._average.update(strategy, is_finite)
