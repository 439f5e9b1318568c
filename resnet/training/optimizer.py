"""How gradients change the weights.

An optimizer is made inside the strategy's scope. `state` is all that a checkpoint needs besides the weights, by name.
`update` applies averaged gradients, one for each weight, on all devices; not where `applies` is false.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from resnet.model.network import CLASSIFIER, layer_of
from resnet.settings import Training


class Sgd:
    """SGD with momentum as in Caffe: the learning rate is inside the momentum, so a drop affects new gradients only.

        v = momentum * v + learning_rate * (gradient + weight_decay * w);  w = w - v

    Decoupled, weight decay is no part of the momentum (Loshchilov and Hutter 2019, SGDW):

        v = momentum * v + learning_rate * gradient;  w = w - v - learning_rate * weight_decay * w

    By default, weight decay applies to all trained variables, also the scales and offsets of batch normalisation, as in
    fb.resnet.torch. The learning rate of all layers but the classifier is multiplied by `training.backbone_factor`.
    """

    def __init__(self, weights: Sequence[tf.Variable], settings: Training):
        self._weights, self._settings = weights, settings
        self._momentum = _zeros_like(weights)

    @property
    def state(self) -> dict[str, tf.Variable]:
        return _named("momentum", self._momentum)

    def update(
        self,
        strategy: tf.distribute.Strategy,
        gradients: Sequence[tf.Tensor],
        learning_rate: tf.Tensor,
        applies: tf.Tensor | None = None,
    ) -> None:
        momentum, is_coupled = self._settings.momentum, self._settings.decay_kind == "coupled"

        def descend(
            weight: tf.Variable,
            velocity: tf.Variable,
            gradient: tf.Tensor,
            rate: tf.Tensor,
            factor: float,
            decay: float,
            applies: tf.Tensor | None = None,
        ) -> None:
            if is_coupled:
                moved = momentum * velocity + factor * rate * (gradient + decay * weight)
                assign(weight, weight - moved, applies)
            else:
                moved = momentum * velocity + factor * rate * gradient
                assign(weight, weight - moved - factor * rate * decay * weight, applies)
            assign(velocity, moved, applies)

        for weight, velocity, gradient in zip(self._weights, self._momentum, gradients, strict=True):
            factor, decay = rate_factor(weight.name, self._settings), decay_of(weight.name, self._settings)
            strategy.extended.update(weight, descend, args=(velocity, gradient, learning_rate, factor, decay, applies))


class Lamb:
    """LAMB (You et al. 2020, algorithm 2): Adam, whose update of each variable is scaled to the variable's norm.

        m = 0.9 m + 0.1 g;  v = 0.999 v + 0.001 g^2;  u = (m / (1 - 0.9^t)) / (sqrt(v / (1 - 0.999^t)) + 1e-6)
        u = u + weight_decay * w;  w = w - learning_rate * |w| / |u| * u

    t counts the steps. Variables that do not decay are not scaled, as in timm; nor are those whose norm is zero.
    """

    FIRST, SECOND, EPSILON = 0.9, 0.999, 1e-6

    def __init__(self, weights: Sequence[tf.Variable], settings: Training):
        self._weights, self._settings = weights, settings
        self._means, self._squares = _zeros_like(weights), _zeros_like(weights)
        self._steps = step_counter()

    @property
    def state(self) -> dict[str, tf.Variable]:
        return {"lamb/steps": self._steps} | _named("mean", self._means) | _named("square", self._squares)

    def update(
        self,
        strategy: tf.distribute.Strategy,
        gradients: Sequence[tf.Tensor],
        learning_rate: tf.Tensor,
        applies: tf.Tensor | None = None,
    ) -> None:
        def descend(
            weight: tf.Variable,
            mean: tf.Variable,
            square: tf.Variable,
            steps: tf.Variable,
            gradient: tf.Tensor,
            rate: tf.Tensor,
            decay: float,
            applies: tf.Tensor | None,
        ) -> None:
            done = tf.cast(steps, tf.float32)
            first = self.FIRST * mean + (1 - self.FIRST) * gradient
            second = self.SECOND * square + (1 - self.SECOND) * tf.square(gradient)
            deviation = tf.sqrt(second / (1 - self.SECOND**done)) + self.EPSILON
            moved = first / (1 - self.FIRST**done) / deviation
            if decay:
                moved += decay * weight
                moved *= _ratio(tf.norm(weight), tf.norm(moved))
            assign(weight, weight - rate * moved, applies)
            assign(mean, first, applies)
            assign(square, second, applies)

        count_step(strategy, self._steps, applies)
        state = zip(self._weights, self._means, self._squares, gradients, strict=True)
        for weight, mean, square, gradient in state:
            rate = rate_factor(weight.name, self._settings) * learning_rate
            decay = decay_of(weight.name, self._settings)
            strategy.extended.update(weight, descend, args=(mean, square, self._steps, gradient, rate, decay, applies))


Optimizer = Sgd | Lamb


def optimizer_of(weights: Sequence[tf.Variable], settings: Training) -> Optimizer:
    """The optimizer that the recipe names, of these weights."""
    return Lamb(weights, settings) if settings.optimizer == "lamb" else Sgd(weights, settings)


def rate_factor(variable: str, settings: Training) -> float:
    """What multiplies the learning rate of a variable, by its name."""
    return 1.0 if layer_of(variable) == CLASSIFIER else settings.backbone_factor


def decay_of(variable: str, settings: Training) -> float:
    """The weight decay of a variable, by its name."""
    kind = variable.split(":")[0].rpartition("/")[2]
    kept = {"all": (), "all but norms": ("scale", "offset"), "kernels": ("scale", "offset", "bias")}
    return 0.0 if kind in kept[settings.decayed] else settings.weight_decay


def assign(variable: tf.Variable, value: tf.Tensor, applies: tf.Tensor | None) -> None:
    """Set a variable on its device, unless `applies` is false."""
    variable.assign(value if applies is None else tf.where(applies, value, variable))


def step_counter() -> tf.Variable:
    """A variable that counts steps. int64: TensorFlow keeps variables of int32 in the memory of the CPU."""
    return tf.Variable(0, dtype=tf.int64, trainable=False, name="steps")


def count_step(strategy: tf.distribute.Strategy, steps: tf.Variable, applies: tf.Tensor | None) -> None:
    """Count a step on all devices, unless `applies` is false."""
    strategy.extended.update(steps, lambda steps, applies: assign(steps, steps + 1, applies), args=(applies,))


def _ratio(numerator: tf.Tensor, denominator: tf.Tensor) -> tf.Tensor:
    """Of two norms; 1 where one of them is zero."""
    is_one = (numerator == 0) | (denominator == 0)
    return tf.where(is_one, 1.0, tf.math.divide_no_nan(numerator, denominator))


def _zeros_like(weights: Sequence[tf.Variable]) -> list[tf.Variable]:
    """A variable for each weight, of its name."""
    return [tf.Variable(tf.zeros_like(weight), trainable=False, name=weight.name.split(":")[0]) for weight in weights]


def _named(kind: str, variables: Sequence[tf.Variable]) -> dict[str, tf.Variable]:
    return {f"{kind}/{variable.name.split(':')[0]}": variable for variable in variables}
