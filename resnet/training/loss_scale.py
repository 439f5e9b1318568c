"""The loss scale of float16, whose numbers end at 65,504 and vanish below 6e-8 (Micikevicius et al. 2018).

Gradients are computed of the loss times the scale, so that small ones do not vanish, and divided by it in float32.
Where one overflows, the step is skipped and the scale is halved; after GROWTH_STEPS steps without, it is doubled.
"""

from __future__ import annotations

import tensorflow as tf

FIRST = 2.0**15
GROWTH_STEPS = 2000  # as in NVIDIA's and Keras's mixed precision
GREATEST = 2.0**24


class LossScale:
    """`state`: what a checkpoint needs."""

    def __init__(self) -> None:
        self._scale = tf.Variable(FIRST, trainable=False, name="loss_scale")
        # int64: TensorFlow keeps variables of int32 in the memory of the CPU.
        self._steps = tf.Variable(0, dtype=tf.int64, trainable=False, name="steps_without_overflow")

    @property
    def state(self) -> dict[str, tf.Variable]:
        return {"loss_scale/scale": self._scale, "loss_scale/steps_without_overflow": self._steps}

    @property
    def value(self) -> tf.Tensor:
        return self._scale.read_value()

    def update(self, strategy: tf.distribute.Strategy, is_finite: tf.Tensor) -> None:
        """Adapt the scale after a step, on all devices; `is_finite`: whether all its gradients were."""

        def adapt(scale: tf.Variable, steps: tf.Variable, is_finite: tf.Tensor) -> None:
            is_due = steps + 1 >= GROWTH_STEPS
            grown = tf.where(is_due, tf.minimum(2 * scale, GREATEST), scale)
            scale.assign(tf.where(is_finite, grown, scale / 2))
            steps.assign(tf.where(is_finite & ~is_due, steps + 1, tf.zeros_like(steps)))

        strategy.extended.update(self._scale, adapt, args=(self._steps, is_finite))
