"""Prepares the project's network for a comparison with a reference, and measures the difference."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from resnet.model.network import ResNet

CLASSES = 10

# Bounds for `relative_difference`. Each is about ten times the greatest difference measured against Keras and torch on
# a CPU, over two sets of images and every depth; ResNet-50 has the greatest.
INFERENCE_LOGITS = 1e-4  # measured: 1.4e-5, float32's rounding (6e-8) amplified by 50 layers
TRAINING_LOGITS = 5e-4  # measured: 5.9e-5; each layer's rounding also changes the mean and variance of the next
# With ReLU the gradient jumps where a value is near zero and rounding decides its sign. That concerns a fraction r of
# the values, about the relative rounding error above, and each changes one gradient completely. That adds sqrt(r) to
# the length of the difference for each layer, so sqrt(49 * 1e-5) = 0.02 in total. The smooth softplus has no jumps.
GRADIENTS_WITH_RELU = 0.3  # measured: 0.034
GRADIENTS_WITH_SOFTPLUS = 2e-4  # measured: 2.3e-5


def images_and_labels(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (count, size, size, 3), np.uint8)
    return images, random.integers(0, CLASSES, count, np.int32)


def network_with_random_norms(depth: int, stride_in: str, images: np.ndarray) -> ResNet:
    """A new network whose batch normalisations have random scales, offsets, means and variances.

    Mean and variance are near those that `images` give, so that activations neither grow nor vanish with depth.
    """
    network = ResNet(depth, CLASSES, stride_in=stride_in)
    random = np.random.default_rng(2)
    for norm in network.norms:
        norm.scale.assign(random.uniform(0.5, 1.5, norm.scale.shape))
        norm.offset.assign(random.normal(0, 0.3, norm.offset.shape))
    _, statistics = network(images, training=True)
    for norm, (mean, variance) in zip(network.norms, statistics, strict=True):
        norm.mean.assign(mean + random.normal(0, 0.3, mean.shape) * np.sqrt(variance))
        norm.variance.assign(variance * random.uniform(0.5, 2, variance.shape))
    return network


def weights(network: ResNet) -> dict[str, np.ndarray]:
    return {name: variable.numpy() for name, variable in network.named_variables().items()}


def gradients(network: ResNet, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Of the mean cross-entropy, in training mode, with respect to each trained variable."""
    trained = {name: variable for name, variable in network.named_variables().items() if variable.trainable}
    with tf.GradientTape() as tape:
        logits, _ = network(images, training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    return {name: gradient.numpy() for name, gradient in tape.gradient(loss, trained).items()}


def relative_difference(a: np.ndarray, b: np.ndarray) -> float:
    """Length of the difference in units of b's length."""
    assert a.shape == b.shape
    difference = float(np.linalg.norm(a - b) / np.linalg.norm(b))
    assert np.isfinite(difference)  # max() ignores NaN
    return difference


def greatest_difference(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> tuple[float, str]:
    """The greatest relative difference, and the name of the array that has it."""
    assert a.keys() == b.keys()
    return max((relative_difference(a[name], b[name]), name) for name in a)
