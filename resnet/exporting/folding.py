"""Batch normalisation folded into the convolutions before it: the same function of the images, with fewer operations.

With stored statistics, batch normalisation is scale x (y - mean) / sqrt(variance + epsilon) + offset. As y is a
convolution without bias, the factor goes into the kernel, channel by channel, and what is left is a bias.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from resnet.model.layers import BatchNorm, Conv, variable
from resnet.model.network import ResNet


class Bias(tf.Module):
    """What is left of a batch normalisation: it takes its place in a folded network, which cannot be trained."""

    def __init__(self, name: str, values: np.ndarray):
        super().__init__()
        self.bias = variable(f"{name}/bias", values, trainable=False)

    def __call__(self, x: tf.Tensor, batch_statistics: None) -> tf.Tensor:
        return tf.nn.bias_add(x, self.bias)


def folded(network: ResNet) -> ResNet:
    """A network of its own that answers the same without batch normalisation, in float32 whatever the precision.

    The folding itself is computed in float64, and rounded once.
    """
    kernel, bias = network.classifier.kernel, network.classifier.bias
    result = ResNet(
        network.depth,
        kernel.shape[1],
        stride_in=network.stride_in,
        normalization=network.normalization,
        epsilon=network.epsilon,
    )
    result.classifier.kernel.assign(kernel.numpy())
    result.classifier.bias.assign(bias.numpy())
    result.stem_norm = _fold(network.stem, network.stem_norm, into=result.stem)
    for old, new in zip(network.blocks, result.blocks, strict=True):
        new.norms = [_fold(*layers) for layers in zip(old.convs, old.norms, new.convs, strict=True)]
        if old.projection and new.projection:
            new.projection_norm = _fold(old.projection, old.projection_norm, into=new.projection)
    return result


def _fold(conv: Conv, norm: BatchNorm, into: Conv) -> Bias:
    scale, offset, mean, variance = (
        values.numpy().astype(np.float64) for values in (norm.scale, norm.offset, norm.mean, norm.variance)
    )
    factor = scale / np.sqrt(variance + norm.epsilon)
    into.kernel.assign((conv.kernel.numpy() * factor).astype(np.float32))  # output channels are a kernel's last axis
    return Bias(norm.scale.name.rpartition("/")[0], (offset - mean * factor).astype(np.float32))
