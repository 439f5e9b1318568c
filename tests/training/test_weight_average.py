"""The moving average of the weights, against its formula in NumPy, and where it takes the weights' place."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from resnet.model.network import ResNet
from resnet.settings import Training
from resnet.training.step import TrainStep
from resnet.training.weight_average import WeightAverage

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), np.uint8)
LABELS = np.arange(8, dtype=np.int32)
STRATEGY = tf.distribute.OneDeviceStrategy("/cpu:0")


def all_of(network: ResNet) -> dict[str, np.ndarray]:
    return {name: variable.numpy() for name, variable in network.named_variables().items()}


@pytest.mark.parametrize("every", [1, 3])
def test_it_follows_the_weights_and_statistics_of_the_steps_that_it_is_taken_at(every):
    with STRATEGY.scope():
        network = ResNet(8, 10)
        training = Training(batch_size=8, replica_batch_size=8, average=0.4, average_steps=every)
        step = TrainStep(network, STRATEGY, training)
    expected, taken = {}, 0
    for number in range(14):
        step(IMAGES, LABELS, 0.1)
        if number % every:
            continue
        decay = min(0.4, taken / (9 + taken))
        own = all_of(network)
        expected = {name: decay * expected[name] + (1 - decay) * own[name] if taken else own[name] for name in own}
        taken += 1
    assert decay == (0.4 if every == 1 else pytest.approx(4 / 13))
    with step.averaged():
        found = all_of(network)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_after_the_block_the_network_has_its_own_weights_again_also_after_an_error():
    with STRATEGY.scope():
        network = ResNet(8, 10)
        average = WeightAverage(network, Training(average=0.9))
    before = all_of(network)
    with pytest.raises(KeyboardInterrupt), average.applied():
        raise KeyboardInterrupt
    after = all_of(network)
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)


def test_without_an_average_a_checkpoint_has_no_more_than_before_and_the_weights_are_the_last():
    with STRATEGY.scope():
        network = ResNet(8, 10)
        plain = TrainStep(network, STRATEGY, Training(batch_size=8, replica_batch_size=8))
    assert all(name.startswith("momentum/") for name in plain.state)
    before = all_of(network)
    with plain.averaged():
        assert all(before[name].tobytes() == value.tobytes() for name, value in all_of(network).items())


def test_a_step_that_does_not_apply_is_not_taken_into_account():
    with STRATEGY.scope():
        network = ResNet(8, 10)
        average = WeightAverage(network, Training(average=0.9))
        average.update(STRATEGY, tf.constant(False))
    assert not any(variable.numpy().any() for variable in average.state.values())


def test_frozen_layers_keep_their_weights_to_the_last_bit():
    with STRATEGY.scope():
        network = ResNet(8, 10, frozen=["stem", "stage1"])
        training = Training(batch_size=8, replica_batch_size=8, average=0.4)
        step = TrainStep(network, STRATEGY, training)
    before = all_of(network)
    for _ in range(5):
        step(IMAGES, LABELS, 0.1)
    with step.averaged():
        after = all_of(network)
    kept = {name for name in before if before[name].tobytes() == after[name].tobytes()}
    assert kept == {name for name in before if name.startswith(("stem", "stage1"))}
