"""The tables of names: each variable of ours has tensors of its own in a file, and none is left over."""

from __future__ import annotations

import pytest

from resnet.model.network import ResNet
from resnet.weights.fitting import variable_shapes
from resnet.weights.keras_names import KERAS, KERAS_2016
from resnet.weights.torch_names import TORCH

LAYOUTS = [(layout, depth) for layout in (TORCH, KERAS, KERAS_2016) for depth in layout.depths]


@pytest.mark.parametrize(("layout", "depth"), LAYOUTS, ids=lambda value: getattr(value, "name", value))
def test_a_table_pairs_every_variable_with_tensors_of_its_own(layout, depth):
    table = layout.table(depth)
    assert table.keys() == variable_shapes(depth, 1).keys()
    theirs = [name for entry in table.values() for name in (entry.name, entry.minus) if name]
    assert len(set(theirs)) == len(theirs)


def test_names_and_shapes_are_those_of_the_network_itself():
    variables = ResNet(18, 3).named_variables()
    assert variable_shapes(18, 3) == {name: tuple(variable.shape) for name, variable in variables.items()}


@pytest.mark.parametrize(
    ("layout", "ours", "theirs"),
    [
        (TORCH, "stem/conv/kernel", "conv1.weight"),
        (TORCH, "stage1/block1/conv1/kernel", "layer1.0.conv1.weight"),
        (TORCH, "stage4/block1/projection_norm/variance", "layer4.0.downsample.1.running_var"),
        (TORCH, "stage2/block3/norm2/offset", "layer2.2.bn2.bias"),
        (KERAS, "stem/norm/scale", "conv1_bn/gamma"),
        (KERAS, "stage1/block1/projection/kernel", "conv2_block1_0_conv/kernel"),
        (KERAS, "stage4/block3/norm3/variance", "conv5_block3_3_bn/moving_variance"),
        (KERAS_2016, "stage1/block1/projection_norm/offset", "bn2a_branch1/beta"),
        (KERAS_2016, "stage3/block6/conv3/kernel", "res4f_branch2c/kernel"),
        (KERAS_2016, "classifier/bias", "fc1000/bias"),
    ],
)
def test_names_are_as_published(layout, ours, theirs):
    assert layout.table(50)[ours].name == theirs
