"""How the optimizer changes weights, against its formula in NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet.settings import Training
from resnet.training.optimizer import Lamb, Optimizer, Sgd, decay_of, optimizer_of


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


def descended(strategy: tf.distribute.Strategy, optimizer: Optimizer, gradients: np.ndarray, rate: float = 0.1) -> None:
    """Take a step for each row of gradients, of the one weight that the optimizer has."""
    with strategy.scope():
        for gradient in gradients:
            optimizer.update(strategy, [tf.constant(gradient)], tf.constant(rate))


def test_decoupled_decay_is_no_part_of_the_momentum(strategy):
    random = np.random.default_rng(0)
    w, v = random.standard_normal(5).astype(np.float32), np.zeros(5, np.float32)
    gradients = random.standard_normal((3, 5)).astype(np.float32)
    weight = tf.Variable(w, name="layer/kernel")
    descended(strategy, Sgd([weight], Training(momentum=0.9, weight_decay=0.01, decay_kind="decoupled")), gradients)
    for gradient in gradients:
        v = 0.9 * v + 0.1 * gradient
        w = w - v - 0.1 * 0.01 * w
    np.testing.assert_allclose(weight.numpy(), w, rtol=1e-5)


@pytest.mark.parametrize(
    ("decayed", "names"),
    [
        ("all", ["conv/kernel", "norm/scale", "norm/offset", "classifier/kernel", "classifier/bias"]),
        ("all but norms", ["conv/kernel", "classifier/kernel", "classifier/bias"]),
        ("kernels", ["conv/kernel", "classifier/kernel"]),
    ],
)
def test_weight_decay_is_for_the_kinds_of_weights_that_are_named(decayed, names):
    training = Training(weight_decay=0.01, decayed=decayed)
    every = ["conv/kernel:0", "norm/scale:0", "norm/offset:0", "classifier/kernel:0", "classifier/bias:0"]
    found = {name.split(":")[0]: decay_of(name, training) for name in every}
    assert found == {name.split(":")[0]: 0.01 if name.split(":")[0] in names else 0.0 for name in every}


def lamb(**settings: object) -> Training:
    return Training(**{"optimizer": "lamb", "decay_kind": "lamb"} | settings)


def test_lamb_follows_its_algorithm(strategy):
    random = np.random.default_rng(0)
    w = random.standard_normal((4, 3)).astype(np.float32)
    gradients = random.standard_normal((3, 4, 3)).astype(np.float32)
    weight = tf.Variable(w, name="layer/kernel")
    descended(strategy, optimizer_of([weight], lamb(weight_decay=0.02)), gradients)
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, gradient in enumerate(gradients, start=1):
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        u = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-6) + 0.02 * w
        w = w - 0.1 * np.linalg.norm(w) / np.linalg.norm(u) * u
    np.testing.assert_allclose(weight.numpy(), w, rtol=1e-4)


def test_lamb_is_that_of_keras(strategy):
    """Which scales all variables; here only those that decay are scaled, if by almost nothing."""
    random = np.random.default_rng(0)
    start, gradients = random.standard_normal(50).astype(np.float32), random.standard_normal((4, 50)).astype(np.float32)
    weight, theirs = tf.Variable(start, name="layer/kernel"), keras.Variable(start)
    descended(strategy, Lamb([weight], lamb(weight_decay=1e-30)), gradients)
    optimizer = keras.optimizers.Lamb(learning_rate=0.1, epsilon=1e-6)
    for gradient in gradients:
        optimizer.apply_gradients([(tf.constant(gradient), theirs)])
    np.testing.assert_allclose(weight.numpy(), theirs.numpy(), rtol=1e-4, atol=1e-6)


def test_lamb_does_not_scale_what_does_not_decay_or_is_zero(strategy):
    gradient = np.array([[3.0, 4.0]], np.float32)
    offset, kernel = tf.Variable([10.0, 10.0], name="norm/offset"), tf.Variable([0.0, 0.0], name="conv/kernel")
    for weight in (offset, kernel):
        start = weight.numpy()
        descended(strategy, Lamb([weight], lamb(weight_decay=0.01, decayed="kernels")), gradient)
        np.testing.assert_allclose(start - weight.numpy(), [0.1, 0.1], rtol=1e-4)  # the first step of Adam


def test_a_step_that_does_not_apply_changes_nothing_of_lamb(strategy):
    weight = tf.Variable([1.0, 2.0], name="conv/kernel")
    optimizer = Lamb([weight], lamb())
    with strategy.scope():
        optimizer.update(strategy, [tf.constant([np.inf, 1.0])], tf.constant(0.1), tf.constant(False))
    assert weight.numpy().tolist() == [1.0, 2.0]
    assert not any(variable.numpy().any() for variable in optimizer.state.values())
