"""Keras's `train_on_batch` on a ResNet: the one that Keras ships where there is one, otherwise one of its layers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from step_task import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, LeftOut, StepTask

from resnet.model.network import BOTTLENECK, CIFAR_WIDTHS, IMAGENET_DEPTHS, IMAGENET_WIDTHS

POLICIES = {"bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
SHIPPED = (50, 101, 152)  # keras.applications.ResNet50 and so on, whose first 1x1 convolution has the stride


class KerasStep:
    def __init__(self, task: list[Any], xla: bool):
        task = StepTask(*task)
        keras.mixed_precision.set_global_policy(POLICIES.get(task.precision, "float32"))
        tf.config.experimental.enable_tensor_float_32_execution(task.precision == "tensorfloat32")
        if task.deterministic:
            keras.utils.set_random_seed(0)
            tf.config.experimental.enable_op_determinism()
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
        self._model, name = made_model(task)
        self._model.compile(
            keras.optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(5)],
            jit_compile=xla,
        )
        images, labels = task.load()
        self._images, self._labels = tf.constant(images.astype(np.float32) / 255), tf.constant(labels)
        device = (tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU"))[0]
        versions = f"Keras {keras.__version__}, TensorFlow {tf.__version__}, {name}"
        self.facts = {"versions": versions, "device": device.name}

    def run(self, steps: int) -> dict[str, float]:
        self._model.reset_metrics()  # what it returns is a mean since then
        for _ in range(steps):
            loss = self._model.train_on_batch(self._images, self._labels)[0]
        return {"loss": float(loss)}


def made_model(task: StepTask) -> tuple[keras.Model, str]:
    """A network that gives float32 logits, and where it comes from."""
    if task.depth in SHIPPED and task.stride_in == "1x1":
        name, shape = f"ResNet{task.depth}", (task.size, task.size, 3)
        body = getattr(keras.applications, name)(include_top=False, weights=None, input_shape=shape, pooling="avg")
        # Float32, as Keras's guide to mixed precision has it for the last layer; its metrics refuse bfloat16.
        logits = layers.Dense(task.classes, dtype="float32")(body.output)
        return keras.Model(body.input, logits), f"keras.applications.{name}"
    return layered_model(task), "its layers"


def layered_model(task: StepTask) -> keras.Model:
    """A ResNet of any depth, as this project's."""
    if task.depth not in IMAGENET_DEPTHS and (task.depth - 2) % 6:
        raise LeftOut(f"there is no ResNet-{task.depth}")
    kind, blocks = IMAGENET_DEPTHS.get(task.depth, ("basic", ((task.depth - 2) // 6,) * len(CIFAR_WIDTHS)))
    images = keras.Input((task.size, task.size, 3))
    if task.depth in IMAGENET_DEPTHS:
        widths = IMAGENET_WIDTHS
        x = layers.MaxPooling2D(3, 2, padding="same")(_activated(_convolved(images, 64, 7, 2)))
    else:
        widths = CIFAR_WIDTHS
        x = _activated(_convolved(images, 16, 3, 1))
    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        for i in range(count):
            x = _block(x, width, 2 if stage and not i else 1, kind == BOTTLENECK, task.stride_in)
    return keras.Model(images, layers.Dense(task.classes, dtype="float32")(layers.GlobalAveragePooling2D()(x)))


def _block(x: Any, width: int, stride: int, is_bottleneck: bool, stride_in: str) -> Any:
    outputs = 4 * width if is_bottleneck else width
    shortcut = x if stride == 1 and x.shape[-1] == outputs else _convolved(x, outputs, 1, stride)
    if is_bottleneck:
        first, second = (stride, 1) if stride_in == "1x1" else (1, stride)
        x = _activated(_convolved(x, width, 1, first))
        x = _activated(_convolved(x, width, 3, second))
        x = _convolved(x, outputs, 1, 1)
    else:
        x = _convolved(_activated(_convolved(x, width, 3, stride)), width, 3, 1)
    return _activated(layers.Add()([x, shortcut]))


def _convolved(x: Any, channels: int, kernel: int, stride: int) -> Any:
    x = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False)(x)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)


def _activated(x: Any) -> Any:
    return layers.Activation("relu")(x)
