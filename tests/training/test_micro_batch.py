"""How many replicas a device runs in one pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import tensorflow as tf

from resnet.errors import UserError
from resnet.model.network import ResNet
from resnet.settings import Training
from resnet.training.micro_batch import bytes_of_image, bytes_of_state, replicas_at_once

FREE = Training(batch_size=96, replica_batch_size=8, deterministic=False)  # 12 replicas


@pytest.fixture(scope="module")
def network() -> ResNet:
    return ResNet(8, 10)


def memory_for(network: ResNet, images: float) -> Callable[[], int]:
    return lambda: int((bytes_of_state(network, FREE) + images * bytes_of_image(network, 16)) / 0.8)


@pytest.mark.parametrize(("images", "expected"), [(1, 1), (8.5, 1), (16.5, 2), (46, 4), (48.5, 6), (1000, 12)])
def test_a_gpu_runs_as_many_as_its_memory_holds(network, images, expected):
    assert replicas_at_once(network, 16, FREE, 1, memory_for(network, images)) == expected


def test_they_are_its_share_at_most(network):
    assert replicas_at_once(network, 16, FREE, 4, memory_for(network, 1000)) == 3


def test_a_cpu_and_a_deterministic_training_run_one(network):
    assert replicas_at_once(network, 16, FREE, 1, memory=lambda: 0) == 1
    fixed = FREE.model_copy(update={"deterministic": True})
    assert replicas_at_once(network, 16, fixed, 1, memory_for(network, 1000)) == 1


def test_what_luigi_cfg_says_is_taken_or_refused(network):
    assert replicas_at_once(network, 16, FREE, 2, memory=lambda: 0, wanted=3) == 3
    with pytest.raises(UserError, match=r"replicas_at_once = 4 .* 6 replicas of a device: set 1, 2, 3, 6 or 0"):
        replicas_at_once(network, 16, FREE, 2, memory=lambda: 0, wanted=4)
    fixed = FREE.model_copy(update={"deterministic": True})
    with pytest.raises(UserError, match=r"needs training\.deterministic=false"):
        replicas_at_once(network, 16, fixed, 2, memory=lambda: 0, wanted=3)


def test_half_the_bits_of_activations_take_about_half_the_memory(network):
    share = bytes_of_image(ResNet(8, 10, precision="bfloat16"), 32) / bytes_of_image(network, 32)
    assert 0.45 < share < 0.6


def test_an_image_takes_what_all_operations_on_it_leave():
    def network(images: tf.Tensor, training: bool) -> tf.Tensor:
        return tf.reduce_sum(tf.nn.relu(2 * tf.cast(images, tf.float32)), (1, 2, 3))

    of_pixels, of_sums = 3, 2  # a cast, a product and a ReLU; the sum, and the function's result
    assert bytes_of_image(network, 16) == 4 * (of_pixels * 16 * 16 * 3 + of_sums)


def test_lamb_and_an_average_remember_more_of_each_weight(network):
    sizes = [
        bytes_of_state(network, Training(**changes)) // (4 * network.parameters)
        for changes in ({}, {"optimizer": "lamb", "decay_kind": "lamb"}, {"average": 0.9})
    ]
    assert sizes == [3, 4, 4]
