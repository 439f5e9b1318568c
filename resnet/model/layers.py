"""Convolution, batch normalisation and the classifier, on explicit variables. Images are NHWC."""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
import tensorflow as tf

EPSILON = 1e-5  # of batch normalisation, as in the released networks of He et al.
MEAN = np.array([0.485, 0.456, 0.406])  # of ImageNet's red, green and blue between 0 and 1, as in fb.resnet.torch
DEVIATION = np.array([0.229, 0.224, 0.225])
CAFFE_MEAN = np.array([123.68, 116.779, 103.939])  # of the networks of Simonyan and Zisserman, and of He et al.

# Mean and variance of each batch normalisation, in the order in which the network applies them.
Statistics = list[tuple[tf.Tensor, tf.Tensor]]


class Replicas:
    """Equal parts of a batch, each of which is normalised by the statistics of its own images.

    `statistics`: what the batch normalisations have found, in their order: sums over the replicas.
    """

    def __init__(self, count: int):
        self.count = count
        self.statistics: Statistics = []

    def normalized(self, x: tf.Tensor, norm: BatchNorm) -> tf.Tensor:
        """Each replica by itself, and the batch together again."""
        parts = tf.split(x, self.count) if self.count > 1 else [x]
        results, means, variances = zip(*map(norm.by_batch, parts), strict=True)
        self.statistics.append((tf.add_n(means), tf.add_n(variances)))
        return tf.concat(results, 0) if self.count > 1 else results[0]


class Conv(tf.Module):
    """Convolution without bias, padded evenly on all sides, as in Caffe and torch.

    TensorFlow's own SAME pads a strided convolution more on one side, which shifts the image between layers.
    Initialised as He et al. 2015b with fan out: normal, deviation sqrt(2 / (kernel^2 x output channels)).
    """

    def __init__(self, name: str, inputs: int, outputs: int, kernel: int, stride: int, seed: int):
        super().__init__()
        deviation = math.sqrt(2 / (kernel * kernel * outputs))
        self.kernel = variable(
            f"{name}/kernel", normal(f"{name}/kernel", seed, deviation, (kernel, kernel, inputs, outputs))
        )
        self.stride, self.padding = stride, kernel // 2

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        kernel = tf.cast(self.kernel, x.dtype)
        if self.stride == 1:
            return tf.nn.conv2d(x, kernel, 1, "SAME")  # even already, and on a CPU twice as fast as explicit padding
        return tf.nn.conv2d(pad(x, self.padding), kernel, self.stride, "VALID")


class BatchNorm(tf.Module):
    """Fused batch normalisation. In training it normalises by mean and variance of each replica's images; otherwise by
    the stored `mean` and `variance`, which nothing here changes. `epsilon` is added to the variance.
    """

    def __init__(self, name: str, channels: int, epsilon: float = EPSILON, initial_scale: float = 1.0):
        super().__init__()
        self.epsilon = epsilon
        self.scale = variable(f"{name}/scale", np.full(channels, initial_scale, np.float32))
        self.offset = variable(f"{name}/offset", np.zeros(channels, np.float32))
        self.mean = variable(f"{name}/mean", np.zeros(channels, np.float32), trainable=False)
        self.variance = variable(f"{name}/variance", np.ones(channels, np.float32), trainable=False)

    def __call__(self, x: tf.Tensor, replicas: Replicas | None) -> tf.Tensor:
        """`replicas`: what normalises by the batch, and collects its statistics; None: use the stored ones."""
        return self._normalized(x, self.mean, self.variance)[0] if replicas is None else replicas.normalized(x, self)

    def by_batch(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Normalised by its own statistics; then its mean and variance.

        The variance is the unbiased one (n - 1), as the framework's kernel reports it for inference.
        """
        return self._normalized(x, [], [], is_training=True)

    def _normalized(
        self, x: tf.Tensor, mean: Any, variance: Any, is_training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=self.scale,
            offset=self.offset,
            mean=mean,
            variance=variance,
            epsilon=self.epsilon,
            is_training=is_training,
        )
        return y, mean, variance

    @property
    def channels(self) -> int:
        return self.scale.shape[0]


class Dense(tf.Module):
    """The classifier, with bias; initialised as by Goyal et al. 2017: normal, deviation 0.01, bias zero."""

    def __init__(self, name: str, inputs: int, outputs: int, seed: int):
        super().__init__()
        self.kernel = variable(f"{name}/kernel", normal(f"{name}/kernel", seed, 0.01, (inputs, outputs)))
        self.bias = variable(f"{name}/bias", np.zeros(outputs, np.float32))

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return tf.matmul(x, self.kernel) + self.bias


def normalized(images: tf.Tensor, normalization: str) -> tf.Tensor:
    """Pixels 0 to 255 as the network's float32 input: see `settings.Model.normalization`. The order stays RGB."""
    x = tf.cast(images, tf.float32)
    if normalization == "unit":
        return x * (1 / 255)
    if normalization == "torch":
        return (x * (1 / 255) - tf.constant(MEAN, tf.float32)) * tf.constant(1 / DEVIATION, tf.float32)
    return x - tf.constant(CAFFE_MEAN, tf.float32)


def pad(x: tf.Tensor, pixels: int) -> tf.Tensor:
    """Zeros around the images."""
    return tf.pad(x, [[0, 0], [pixels, pixels], [pixels, pixels], [0, 0]]) if pixels else x


def variable(name: str, value: np.ndarray, trainable: bool = True) -> tf.Variable:
    return tf.Variable(value, trainable=trainable, name=name, dtype=tf.float32)


def normal(name: str, seed: int, deviation: float, shape: tuple[int, ...]) -> np.ndarray:
    """Initial weights. Only seed and name decide them, so that a new layer changes no other layer's."""
    random = np.random.Generator(np.random.Philox(key=np.array([seed, zlib.crc32(name.encode())], np.uint64)))
    return (random.standard_normal(shape) * deviation).astype(np.float32)
