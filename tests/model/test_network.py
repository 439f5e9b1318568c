"""ResNet: its logits and gradients equal those of an independent implementation of the papers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import tensorflow as tf
from model.comparison import (
    CLASSES,
    GRADIENTS_WITH_RELU,
    GRADIENTS_WITH_SOFTPLUS,
    INFERENCE_LOGITS,
    TRAINING_LOGITS,
    gradients,
    greatest_difference,
    images_and_labels,
    network_with_random_norms,
    relative_difference,
    weights,
)
from model.keras_reference import KerasReference

from resnet.model.network import ResNet


@dataclass
class Case:
    depth: int
    stride_in: str
    images: np.ndarray
    labels: np.ndarray
    network: ResNet
    reference: KerasReference


@pytest.fixture(
    scope="module", params=[(18, "1x1"), (50, "1x1"), (50, "3x3"), (20, "1x1")], ids=lambda p: f"{p[0]}-{p[1]}"
)
def case(request: pytest.FixtureRequest) -> Case:
    depth, stride_in = request.param
    size = 32 if depth == 20 else 64
    images, labels = images_and_labels(8, size)
    network = network_with_random_norms(depth, stride_in, images)
    return Case(depth, stride_in, images, labels, network, KerasReference(depth, stride_in, weights(network), size))


def test_logits_equal_those_of_an_independent_network(case: Case):
    logits, statistics = case.network(case.images, training=False)
    assert relative_difference(logits.numpy(), case.reference.logits(case.images, training=False)) < INFERENCE_LOGITS
    assert statistics == []


def test_logits_in_training_mode_equal_those_of_an_independent_network(case: Case):
    logits, _ = case.network(case.images, training=True)
    assert relative_difference(logits.numpy(), case.reference.logits(case.images, training=True)) < TRAINING_LOGITS


def test_gradients_equal_those_of_an_independent_network_except_where_relu_jumps(case: Case):
    ours = gradients(case.network, case.images, case.labels)
    theirs = case.reference.gradients(case.images, case.labels)
    difference, name = greatest_difference(ours, theirs)
    assert difference < GRADIENTS_WITH_RELU, name


def test_gradients_with_a_smooth_activation_equal_those_of_an_independent_network_to_rounding(
    case: Case, monkeypatch: pytest.MonkeyPatch
):
    smooth = KerasReference(case.depth, case.stride_in, weights(case.network), case.images.shape[1], "softplus")
    theirs = smooth.gradients(case.images, case.labels)
    monkeypatch.setattr(tf.nn, "relu", tf.nn.softplus)
    ours = gradients(case.network, case.images, case.labels)
    difference, name = greatest_difference(ours, theirs)
    assert difference < GRADIENTS_WITH_SOFTPLUS, name


def test_each_norm_reports_the_statistics_of_its_input_in_the_sequence_of_the_norms(case: Case):
    _, statistics = case.network(case.images, training=True)
    inputs = case.reference.norm_inputs(case.images)
    assert len(case.network.norms) == len(statistics) == len(inputs)
    for norm, (mean, variance) in zip(case.network.norms, statistics, strict=True):
        x = inputs[norm.mean.name.removesuffix(":0").removesuffix("/mean")].astype(np.float64)
        # Measured: 4e-5. The biased variance would be 3 % off in the last stage, where n is 8 images of 2x2 pixels.
        assert relative_difference(mean.numpy(), x.mean((0, 1, 2))) < 4e-4, norm.mean.name
        assert relative_difference(variance.numpy(), x.var((0, 1, 2), ddof=1)) < 4e-4, norm.variance.name


@pytest.mark.parametrize(
    ("depth", "classes", "expected"),
    [
        (18, 1000, 11_689_512),  # these five as in torchvision
        (34, 1000, 21_797_672),
        (50, 1000, 25_557_032),
        (101, 1000, 44_549_160),
        (152, 1000, 60_192_808),
        (20, 10, 269_722 + 2_752),  # with option A, and the two projections with their batch normalisation
    ],
)
def test_the_number_of_weights_is_as_published(depth: int, classes: int, expected: int):
    assert sum(variable.shape.num_elements() for variable in ResNet(depth, classes).trainable_variables) == expected


def test_the_seed_decides_the_initial_weights():
    first, same, other = (weights(ResNet(20, CLASSES, seed=seed)) for seed in (5, 5, 6))
    assert all(np.array_equal(first[name], same[name]) for name in first)
    kernels = [name for name in first if name.endswith("/kernel")]
    assert len(kernels) == 22
    assert not any(np.array_equal(first[name], other[name]) for name in kernels)


def test_with_a_zero_last_scale_every_block_begins_as_its_shortcut_and_all_other_weights_are_the_same():
    plain, zero = weights(ResNet(20, CLASSES)), weights(ResNet(20, CLASSES, zero_last_scale=True))
    changed = [name for name in plain if not np.array_equal(plain[name], zero[name])]
    assert changed == [f"stage{stage}/block{block}/norm2/scale" for stage in (1, 2, 3) for block in (1, 2, 3)]
    assert not any(zero[name].any() for name in changed)
    block, x = (
        ResNet(20, CLASSES, zero_last_scale=True).blocks[1],
        tf.nn.relu(tf.random.stateless_normal([2, 8, 8, 16], (0, 0))),
    )
    np.testing.assert_array_equal(block(x, None), x)
    assert ResNet(50, CLASSES, zero_last_scale=True).blocks[0].norms[2].scale.numpy().sum() == 0


def test_every_layer_starts_with_different_weights():
    kernels = [value for name, value in weights(ResNet(20, CLASSES)).items() if name.endswith("/kernel")]
    assert len({kernel.ravel()[:48].tobytes() for kernel in kernels}) == len(kernels)


def test_a_deeper_network_starts_with_the_same_weights_in_the_layers_that_both_have():
    shallow, deep = weights(ResNet(20, CLASSES)), weights(ResNet(32, CLASSES))
    assert shallow.keys() < deep.keys()
    assert all(np.array_equal(shallow[name], deep[name]) for name in shallow)


@pytest.mark.parametrize(("depth", "size"), [(18, 64), (20, 32)])
def test_bfloat16_returns_float32_logits_and_statistics_close_to_those_of_float32(depth: int, size: int):
    images, _ = images_and_labels(8, size)
    exact = network_with_random_norms(depth, "1x1", images)
    rounded = ResNet(depth, CLASSES, precision="bfloat16")
    for name, variable in rounded.named_variables().items():
        variable.assign(exact.named_variables()[name])
    logits, _ = rounded(images, training=False)
    _, statistics = rounded(images, training=True)
    assert logits.dtype == tf.float32
    assert {moment.dtype for mean_and_variance in statistics for moment in mean_and_variance} == {tf.float32}
    # Measured: 0.025 and 0.008, from a rounding of 0.002 to 0.004 in each layer. Less than the lower bound would mean
    # that the precision has no effect.
    assert 0.001 < relative_difference(logits.numpy(), exact(images, training=False)[0].numpy()) < 0.1
