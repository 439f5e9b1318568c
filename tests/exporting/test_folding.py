"""Batch normalisation folded into the convolutions."""

from __future__ import annotations

import numpy as np
import pytest

from resnet.exporting.folding import folded
from resnet.model.network import ResNet


@pytest.mark.parametrize(
    ("depth", "settings"),
    [
        (20, {"normalization": "caffe", "precision": "bfloat16"}),
        (50, {"stride_in": "3x3", "normalization": "torch", "epsilon": 1e-3}),
    ],
)
def test_a_folded_network_answers_the_same_in_float32(as_trained, depth, settings):
    network = as_trained(ResNet(depth, 7, **settings))
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    result = folded(network)
    network.precision = result.precision
    expected = network(images, training=False)[0].numpy()
    assert result.precision == "float32"
    np.testing.assert_allclose(result(images, training=False)[0], expected, atol=2e-5 * np.abs(expected).max())


def test_folding_leaves_no_statistics_and_does_not_change_the_network(as_trained):
    network = as_trained(ResNet(20, 7))
    before = {name: variable.numpy() for name, variable in network.named_variables().items()}
    names = set(folded(network).named_variables())
    assert {name.rpartition("/")[2] for name in names} == {"kernel", "bias"}
    assert {"stem/norm/bias", "stage2/block1/projection_norm/bias", "classifier/bias"} <= names
    for name, variable in network.named_variables().items():
        np.testing.assert_array_equal(variable, before[name])
