"""How gradients change the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import tensorflow as tf

from resnet.model.network import CLASSIFIER, layer_of
from resnet.settings import Training


class Optimizer(Protocol):
    """What the training step needs of an optimizer, which is made inside the strategy's scope."""

    @property
    def state(self) -> Mapping[str, tf.Variable]:
        """All that a checkpoint needs besides the weights, by name."""

    def update(
        self,
        strategy: tf.distribute.Strategy,
        gradients: Sequence[tf.Tensor],
        learning_rate: tf.Tensor,
        applies: tf.Tensor | None = None,
    ) -> None:
        """Apply averaged gradients, one for each weight, on all devices; not where `applies` is false."""


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
        return {f"momentum/{variable.name.split(':')[0]}": variable for variable in self._momentum}

    def update(
        self,
        strategy: tf.distribute.Strategy,
        gradients: Sequence[tf.Tensor],
        learning_rate: tf.Tensor,
        applies: tf.Tensor | None = None,
    ) -> None:
        momentum, decay = self._settings.momentum, self._settings.weight_decay

        def descend(
            weight: tf.Variable,
            velocity: tf.Variable,
            gradient: tf.Tensor,
            rate: tf.Tensor,
            factor: float,
            applies: tf.Tensor | None = None,
        ) -> None:
            moved = momentum * velocity + factor * rate * (gradient + decay * weight)
            assign(weight, weight - moved, applies)
            assign(velocity, moved, applies)

        for weight, velocity, gradient in zip(self._weights, self._momentum, gradients, strict=True):
            factor = 1.0 if layer_of(weight.name) == CLASSIFIER else self._settings.backbone_factor
            strategy.extended.update(weight, descend, args=(velocity, gradient, learning_rate, factor, applies))


def assign(variable: tf.Variable, value: tf.Tensor, applies: tf.Tensor | None) -> None:
    """Set a variable on its device, unless `applies` is false."""
    variable.assign(value if applies is None else tf.where(applies, value, variable))
