"""One training step: the update of weights, momentum and moving statistics, and its metrics."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from resnet.errors import UserError
from resnet.model.network import ResNet
from resnet.settings import Training
from resnet.training.gradients import clipped, errors
from resnet.training.step import MOVING_DECAY, TrainStep

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), np.uint8)
LABELS = np.arange(8, dtype=np.int32) % 10


@pytest.fixture(scope="module")
def steps() -> dict:
    """Variables before and after two steps with a drop of the learning rate between them, and the gradients."""
    training = Training(batch_size=8, replica_batch_size=8, weight_decay=0.01)
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        network = ResNet(8, 10)
        step = TrainStep(network, strategy, training)
    seen = {"training": training, "gradients": [], "weights": [], "statistics": []}

    def look():
        seen["weights"].append([v.numpy() for v in network.trainable_variables])
        seen["statistics"].append([v.numpy() for norm in network.norms for v in (norm.mean, norm.variance)])

    look()
    for rate in (0.1, 0.01):
        seen["gradients"].append(step.gradients(IMAGES, LABELS)[0])
        seen["batch"] = [m.numpy() for pair in network(tf.constant(IMAGES), training=True)[1] for m in pair]
        step(IMAGES, LABELS, rate)
        look()
    seen["momentum"] = [v.numpy() for v in step.state.values()]
    return seen


def test_the_update_follows_caffe_with_the_learning_rate_inside_the_momentum(steps):
    for before, middle, after, first, second, momentum in zip(
        *steps["weights"], *steps["gradients"], steps["momentum"], strict=True
    ):
        v = 0.1 * (first + 0.01 * before)
        np.testing.assert_allclose(middle, before - v, rtol=1e-5, atol=1e-7)
        v = 0.9 * v + 0.01 * (second + 0.01 * middle)
        np.testing.assert_allclose(momentum, v, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(after, middle - v, rtol=1e-5, atol=1e-7)


def test_gradients_beyond_the_greatest_norm_are_scaled_down_all_alike():
    gradients = [tf.constant([[3.0, 0.0]]), tf.constant([4.0])]  # their norm is 5
    norm = tf.linalg.global_norm(gradients)
    assert [gradient.numpy().tolist() for gradient in clipped(gradients, norm, 2.5)] == [[[1.5, 0.0]], [2.0]]
    assert [gradient.numpy().tolist() for gradient in clipped(gradients, norm, 5.0)] == [[[3.0, 0.0]], [4.0]]
    assert clipped([tf.zeros(3)], tf.constant(0.0), 1.0)[0].numpy().tolist() == [0.0] * 3


def test_a_step_moves_the_weights_by_the_clipped_gradients():
    moved = {}
    for clip_norm in (0.0, 0.1):
        strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
        with strategy.scope():
            network = ResNet(8, 10)
            training = Training(batch_size=8, replica_batch_size=8, weight_decay=0.0, clip_norm=clip_norm)
            step = TrainStep(network, strategy, training)
        before = [variable.numpy() for variable in network.trainable_variables]
        norms = dict(zip(step.metrics, step(IMAGES, LABELS, 1.0).numpy(), strict=True))["gradient_norm"]
        after = [variable.numpy() for variable in network.trainable_variables]
        moved[clip_norm] = np.concatenate([(a - b).ravel() for a, b in zip(after, before, strict=True)])
        assert norms == pytest.approx(np.linalg.norm(moved[0.0]), rel=1e-4)  # before they are clipped
    assert np.linalg.norm(moved[0.0]) > 0.2
    assert np.linalg.norm(moved[0.1]) == pytest.approx(0.1, rel=1e-3)
    cosine = moved[0.0] @ moved[0.1] / np.linalg.norm(moved[0.0]) / np.linalg.norm(moved[0.1])
    assert cosine == pytest.approx(1, rel=1e-4)


def test_an_image_of_a_class_without_weight_moves_nothing():
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        training = Training(batch_size=8, replica_batch_size=8)
        step = TrainStep(ResNet(8, 10), strategy, training, class_weights=[1.0, *[0.0] * 9])
    one, none = (step.gradients(IMAGES, np.full(8, label, np.int32))[0] for label in (0, 1))
    assert all(gradient.any() for gradient in one[-2:])
    assert not any(gradient.any() for gradient in none)


def test_moving_statistics_follow_the_batch_statistics(steps):
    before, after = steps["statistics"][1:]
    for stored, batch, moved in zip(before, steps["batch"], after, strict=True):
        expected = MOVING_DECAY * stored + (1 - MOVING_DECAY) * batch
        np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-6)


def test_errors_are_the_percentage_of_labels_outside_the_top_1_and_top_5():
    logits = tf.constant([[9.0, 1, 2, 3, 4, 5, 6], [1, 9, 2, 3, 4, 5, 6], [9, 8, 7, 6, 5, 1, 0]])
    top1, top5 = errors(logits, tf.constant([0, 6, 6]))
    assert (float(top1), float(top5)) == pytest.approx((200 / 3, 100 / 3))


def test_the_top5_error_is_zero_with_fewer_than_five_classes():
    assert float(errors(tf.constant([[1.0, 2, 3]]), tf.constant([0]))[1]) == 0


def test_frozen_layers_keep_every_bit_and_have_no_momentum():
    training = Training(batch_size=8, replica_batch_size=8, start_from="weights.pth", freeze=["stem", "stage1"])
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        network = ResNet(8, 10, frozen=training.freeze)
        step = TrainStep(network, strategy, training)
    before = {name: variable.numpy() for name, variable in network.named_variables().items()}
    for _ in range(2):
        step(IMAGES, LABELS, 0.1)
    after = {name: variable.numpy() for name, variable in network.named_variables().items()}
    frozen = {name for name in before if name.startswith(("stem", "stage1"))}
    assert {name for name in before if before[name].tobytes() == after[name].tobytes()} == frozen
    assert not any(name.startswith(("momentum/stem", "momentum/stage1")) for name in step.state)


@pytest.mark.parametrize("moment", ["place", "run"])
def test_a_device_without_enough_memory_is_one_message(moment, monkeypatch):
    def refuse(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor\nDetails")

    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        step = TrainStep(ResNet(8, 10), strategy, Training(batch_size=8, replica_batch_size=8))
    if moment == "place":
        monkeypatch.setattr("resnet.training.step.share", refuse)
    else:
        monkeypatch.setattr(step, "_run", refuse)
    remedy = r"set training\.precision=bfloat16, or a lower training\.replica_batch_size"
    with pytest.raises(
        UserError, match=rf"does not hold 1 x 8 images at a time \(OOM when allocating tensor\): {remedy}"
    ):
        step(IMAGES, LABELS, 0.1)
