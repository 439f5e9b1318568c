"""How gradients change the weights."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from resnet.model.network import CLASSIFIER, layer_of
from resnet.settings import Training


class Sgd:
    """SGD with momentum as in Caffe: the learning rate is inside the momentum, so a drop affects new gradients only.

        v = momentum * v + learning_rate * (gradient + weight_decay * w);  w = w - v

    Weight decay applies to all trained variables, also the scales and offsets of batch normalisation, as in
    fb.resnet.torch. The learning rate of all layers but the classifier is multiplied by `training.backbone_factor`.
    """

    def __init__(self, weights: Sequence[tf.Variable], settings: Training):
        self._weights, self._settings = weights, settings
        self._momentum = [
            tf.Variable(tf.zeros_like(weight), trainable=False, name=weight.name.split(":")[0]) for weight in weights
        ]

    @property
    def state(self) -> dict[str, tf.Variable]:
        """All that a checkpoint needs besides the weights, by name."""
        return {f"momentum/{variable.name.split(':')[0]}": variable for variable in self._momentum}

    def update(
        self, strategy: tf.distribute.Strategy, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor
    ) -> None:
        """Apply averaged gradients, one for each weight, on all devices."""
        momentum, decay = self._settings.momentum, self._settings.weight_decay

        def descend(
            weight: tf.Variable, velocity: tf.Variable, gradient: tf.Tensor, rate: tf.Tensor, factor: float
        ) -> None:
            velocity.assign(momentum * velocity + factor * rate * (gradient + decay * weight))
            weight.assign_sub(velocity)

        for weight, velocity, gradient in zip(self._weights, self._momentum, gradients, strict=True):
            factor = 1.0 if layer_of(weight.name) == CLASSIFIER else self._settings.backbone_factor
            strategy.extended.update(weight, descend, args=(velocity, gradient, learning_rate, factor))
