"""Gradients in 16 bits beside those in float32, on real images and after some training.

Before that they differ more, and again when the network knows its training images by heart: then the gradient is a
small difference of large numbers.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

from resnet.model.network import ResNet
from resnet.settings import Training
from resnet.training.step import TrainStep

BATCH, STEPS, COMPARED = 64, 60, 128  # images of a step, steps, images of the batch whose gradients are compared
STRATEGY = tf.distribute.OneDeviceStrategy("/cpu:0")


def digits(step: int, count: int = BATCH) -> tuple[np.ndarray, np.ndarray]:
    """A batch of uint8 RGB [count, 16, 16, 3]."""
    found = load_digits()
    rows = np.random.default_rng(step).choice(len(found.target), count, replace=False)
    grey = np.kron(found.images[rows] * (255 / 16), np.ones((1, 2, 2))).astype(np.uint8)
    return np.repeat(grey[..., None], 3, 3), found.target[rows].astype(np.int32)


def step_in(precision: str, batch: int = COMPARED) -> tuple[ResNet, TrainStep]:
    with STRATEGY.scope():
        network = ResNet(20, 10, precision=precision)
        training = Training(batch_size=batch, replica_batch_size=batch, precision=precision)
        return network, TrainStep(network, STRATEGY, training)


@pytest.fixture(scope="module")
def trained() -> tuple[ResNet, list[np.ndarray]]:
    """A network after some training in float32, and its gradients of another batch."""
    network, step = step_in("float32", BATCH)
    for number in range(STEPS):
        step(*digits(number), 0.1)
    return network, gradients_by(network, "float32")


def gradients_by(network: ResNet, precision: str) -> list[np.ndarray]:
    """The gradients of a large batch in that precision, for the weights of a network."""
    other, step = step_in(precision)
    for variable, value in zip(other.trained, network.trained, strict=True):
        variable.assign(value)
    return step.gradients(*digits(STEPS, COMPARED))[0]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_gradients_point_where_those_of_float32_do_in_every_layer(trained, precision):
    network, expected = trained
    found = gradients_by(network, precision)
    for variable, ours, theirs in zip(network.trained, found, expected, strict=True):
        a, b = ours.ravel().astype(np.float64), theirs.ravel().astype(np.float64)
        cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
        assert cosine > 0.99, variable.name
