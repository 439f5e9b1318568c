"""How the optimizer changes weights, against its formula in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from resnet.settings import Training
from resnet.training.optimizer import Sgd


@pytest.fixture
def strategy() -> tf.distribute.Strategy:
    return tf.distribute.OneDeviceStrategy("/cpu:0")


def test_the_learning_rate_is_inside_the_momentum_as_in_caffe(strategy):
    random = np.random.default_rng(0)
    w, v = random.standard_normal(5).astype(np.float32), np.zeros(5, np.float32)
    weight = tf.Variable(w, name="layer/kernel")
    optimizer = Sgd([weight], Training(momentum=0.9, weight_decay=0.01))
    for rate in (0.1, 0.1, 0.01):  # with a drop
        gradient = random.standard_normal(5).astype(np.float32)
        with strategy.scope():
            optimizer.update(strategy, [tf.constant(gradient)], tf.constant(rate))
        v = 0.9 * v + rate * (gradient + 0.01 * w)
        w = w - v
        np.testing.assert_allclose(weight.numpy(), w, rtol=1e-5)


def test_the_state_has_a_momentum_for_each_weight_by_its_name():
    weights = [tf.Variable([1.0, 2.0], name="a/kernel"), tf.Variable([3.0], name="b/bias")]
    state = Sgd(weights, Training()).state
    assert {name: variable.shape.as_list() for name, variable in state.items()} == {
        "momentum/a/kernel": [2],
        "momentum/b/bias": [1],
    }
    assert all(not variable.numpy().any() for variable in state.values())


def test_the_backbone_factor_multiplies_the_learning_rate_of_all_layers_but_the_classifier(strategy):
    names = ("stem/conv/kernel", "stage1/block1/norm1/scale", "classifier/kernel", "classifier/bias")
    weights = [tf.Variable([1.0], name=name) for name in names]
    optimizer = Sgd(weights, Training(momentum=0.5, weight_decay=0.1, backbone_factor=0.25))
    with strategy.scope():
        for _ in range(2):
            optimizer.update(strategy, [tf.constant([2.0])] * len(weights), tf.constant(0.1))
    for weight, rate in zip(weights, (0.025, 0.025, 0.1, 0.1), strict=True):
        w, v = 1.0, 0.0
        for _ in range(2):
            v = 0.5 * v + rate * (2.0 + 0.1 * w)
            w -= v
        assert weight.numpy()[0] == pytest.approx(w, rel=1e-6), weight.name
