"""Gradients in 16 bits beside those in float32, on real images and after some training.

Before that they differ more, in whatever framework: of random weights, the gradient is a small difference of large
numbers.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

from resnet.model.network import ResNet
from resnet.settings import Training
from resnet.training.step import TrainStep

BATCH, STEPS = 64, 120
STRATEGY = tf.distribute.OneDeviceStrategy("/cpu:0")


def digits(step: int) -> tuple[np.ndarray, np.ndarray]:
    """A batch of uint8 RGB [64, 16, 16, 3]."""
    found = load_digits()
    rows = np.random.default_rng(step).choice(len(found.target), BATCH, replace=False)
    grey = np.kron(found.images[rows] * (255 / 16), np.ones((1, 2, 2))).astype(np.uint8)
    return np.repeat(grey[..., None], 3, 3), found.target[rows].astype(np.int32)


def step_in(precision: str) -> tuple[ResNet, TrainStep]:
    with STRATEGY.scope():
        network = ResNet(20, 10, precision=precision)
        training = Training(batch_size=BATCH, replica_batch_size=BATCH, precision=precision)
        return network, TrainStep(network, STRATEGY, training)


@pytest.fixture(scope="module")
def trained() -> tuple[ResNet, list[np.ndarray]]:
    """A network after some training in float32, and its gradients of another batch."""
    network, step = step_in("float32")
    for number in range(STEPS):
        step(*digits(number), 0.05)
    return network, step.gradients(*digits(STEPS))[0]


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "tensorfloat32"])
def test_gradients_point_where_those_of_float32_do_in_every_layer(trained, precision):
    reference, expected = trained
    network, step = step_in(precision)
    for variable, value in zip(network.trained, reference.trained, strict=True):
        variable.assign(value)
    found, _ = step.gradients(*digits(STEPS))
    for variable, ours, theirs in zip(network.trained, found, expected, strict=True):
        a, b = ours.ravel().astype(np.float64), theirs.ravel().astype(np.float64)
        cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
        assert cosine > (0.99 if precision != "tensorfloat32" else 0.999999), variable.name
