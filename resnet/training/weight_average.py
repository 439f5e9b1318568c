"""The moving average of the weights, which training validates and keeps instead of the last weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from resnet.model.network import ResNet, layer_of
from resnet.settings import Training
from resnet.training.optimizer import assign, count_step, step_counter
from resnet.weights import safetensors_files


class WeightAverage:
    """An exponential moving average of weights and moving statistics, taken every `training.average_steps` steps:

        average = d * average + (1 - d) * weights,  d = min(training.average, n / (9 + n))

    n counts the averages taken before, so the first one is a copy, and the random weights of the beginning are soon
    forgotten (as in TensorFlow's ExponentialMovingAverage with `num_updates`). Make it inside the strategy's scope.
    """

    def __init__(self, network: ResNet, training: Training):
        self._decay, self._every = training.average, training.average_steps
        # Of frozen layers, the average would differ from what they have by rounding.
        weights = network.named_variables()
        self._weights = {name: weight for name, weight in weights.items() if layer_of(name) not in network.frozen}
        self._averages = {
            name: tf.Variable(tf.zeros_like(weight), trainable=False, name=f"average/{name}")
            for name, weight in self._weights.items()
        }
        self._steps = step_counter()

    @property
    def state(self) -> dict[str, tf.Variable]:
        """All that a checkpoint needs, by name."""
        return {"average/steps": self._steps} | {f"average/{name}": value for name, value in self._averages.items()}

    def update(self, strategy: tf.distribute.Strategy, applies: tf.Tensor | None = None) -> None:
        """Take a step's new weights into account, on all devices; not where `applies` is false."""

        def follow(average: tf.Variable, weight: tf.Variable, steps: tf.Variable, applies: tf.Tensor | None) -> None:
            before = tf.cast(steps // self._every, tf.float32)
            decay = tf.minimum(self._decay, before / (9 + before))
            new = decay * average + (1 - decay) * weight
            assign(average, tf.where(steps % self._every == 0, new, average), applies)

        for name, average in self._averages.items():
            strategy.extended.update(average, follow, args=(self._weights[name], self._steps, applies))
        count_step(strategy, self._steps, applies)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block, the network has the averages; then its own weights again."""
        own = safetensors_files.values(self._weights)
        self._assign(safetensors_files.values(self._averages))
        try:
            yield
        finally:
            self._assign(own)

    def _assign(self, values: dict[str, np.ndarray]) -> None:
        for name, weight in self._weights.items():
            weight.assign(values[name])
