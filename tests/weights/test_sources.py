"""Which files of weights are taken, and what is said of the others."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from resnet.errors import UserError
from resnet.model.network import ResNet
from resnet.settings import Model
from resnet.weights.safetensors_files import values, write_weights
from resnet.weights.sources import Source, read_source, require_settings
from resnet.weights.tensor_files import write_tensors

CLASSES = [("cat", "cat"), ("n02085620", "Chihuahua")]


@pytest.fixture(scope="module")
def own_network() -> ResNet:
    return ResNet(20, 2, normalization="torch", epsilon=1e-3, seed=1)


@pytest.fixture
def own_file(own_network, tmp_path):
    return write_weights(tmp_path / "weights.safetensors", own_network, CLASSES)


def test_our_own_file_comes_back_with_its_settings_and_classes(own_network, own_file):
    source = read_source(own_file)
    assert source.layout == "this project"
    assert source.sha256 == hashlib.sha256(own_file.read_bytes()).hexdigest()
    assert source.settings == {"depth": 20, "normalization": "torch", "epsilon": 1e-3}
    assert (source.outputs, source.classes) == (2, CLASSES)
    expected = values(own_network.named_variables())
    assert source.tensors.keys() == expected.keys()
    assert all(np.array_equal(source.tensors[name], expected[name]) for name in expected)


def test_our_own_file_knows_the_stride_of_bottlenecks(tmp_path):
    path = write_weights(tmp_path / "weights.safetensors", ResNet(50, 2, stride_in="3x3"))
    assert read_source(path).settings == {"depth": 50, "stride_in": "3x3", "normalization": "unit", "epsilon": 1e-5}


def test_our_own_file_of_an_earlier_version_knows_only_the_depth(own_network, tmp_path):
    write_tensors(tmp_path / "w.safetensors", values(own_network.named_variables()), {"network": "resnet20"})
    assert read_source(tmp_path / "w.safetensors").settings == {"depth": 20}


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"step": 7}, "it looks like a checkpoint of training. Give the weights.safetensors of a finished run"),
        ({"network": "resnet21"}, "network that this version does not have"),
        ({"network": "vgg"}, "network that this version does not have"),
        ({"settings": {}}, "network that this version does not have"),
        ({"settings": {"epsilon": 1e-3}}, "network that this version does not have"),
        ({"settings": [1]}, "network that this version does not have"),
        ({"settings": {"depth": 20, "shape": "round"}}, "network that this version does not have"),
        ({"settings": {"depth": 18}}, "is not a ResNet-18 as this project stores it"),
        ({"network": "resnet20", "classes": [["cat", "cat"]]}, "names 1 classes, but its classifier has 2"),
        ({"network": "resnet20", "classes": [1, 2]}, "are not pairs of identifier and name"),
    ],
)
def test_our_own_file_with_a_header_that_does_not_fit_is_refused(facts, reason, own_network, tmp_path, refusal):
    write_tensors(tmp_path / "w.safetensors", values(own_network.named_variables()), facts)
    assert reason in refusal(tmp_path / "w.safetensors")


def test_our_own_file_with_a_wrong_byte_is_refused(own_file, refusal):
    content = bytearray(own_file.read_bytes())
    content[-1] ^= 1
    own_file.write_bytes(content)
    assert "its SHA-256 does not match" in refusal(own_file)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it begins with b'version https://git-lfs."),
        (b"PK\x03\x04", "it is not a complete zip"),
        (b"\x89HDF\r\n\x1a\n", "is cut short or corrupt"),
        (b"\xff\xff\xff\xff\0\0\0\0{", "is cut short or corrupt"),
        (b"\x02\0\0\0\0\0\0\0{}", "it has no tensors"),
    ],
)
def test_what_is_not_a_file_of_weights_is_refused(content, reason, tmp_path, refusal):
    (tmp_path / "file").write_bytes(content)
    assert reason in refusal(tmp_path / "file")


def test_folders_missing_files_and_pipes_are_refused(tmp_path, refusal):
    assert "is a folder" in refusal(tmp_path)
    assert "cannot be read: No such file or directory" in refusal(tmp_path / "missing")
    assert "cannot be read: File name too long" in refusal(tmp_path / ("long" * 100))
    assert "cannot be read: embedded null byte" in refusal(tmp_path / "zero\0byte")
    os.mkfifo(tmp_path / "pipe")
    assert "is not a regular file" in refusal(tmp_path / "pipe")
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(5 << 30)
    assert "far more than a ResNet needs" in refusal(tmp_path / "huge")


def test_a_torch_file_that_is_cut_short_is_refused(torch_file, resnet18, refusal):
    path = torch_file(resnet18)
    path.write_bytes(path.read_bytes()[:-1])
    assert "is cut short or corrupt" in refusal(path)


def without(tensors: dict[str, np.ndarray], *prefixes: str) -> dict[str, np.ndarray]:
    return {name: array for name, array in tensors.items() if not name.startswith(prefixes)}


def test_other_networks_are_refused_with_the_layers_that_differ(resnet18, torch_file, refusal):
    one = np.ones(1, np.float32)
    vgg = {f"features.{number}.weight": one for number in (0, 2, 5, 7)}
    message = refusal(torch_file(vgg))
    assert "has none of the tensors of a ResNet as torchvision or timm stores it" in message
    assert "it has features.0.weight, features.2.weight, features.5.weight and 1 more." in message
    deep_stem = without(resnet18, "conv1.") | {"conv1.0.weight": one, "conv1.1.bias": one}
    message = refusal(torch_file(deep_stem))
    assert "is not a ResNet-18 as torchvision or timm stores it" in message
    assert "conv1.weight missing; conv1.0.weight, conv1.1.bias left over" in message
    squeezed = resnet18 | {f"layer{stage}.0.se.fc1.weight": one for stage in (1, 2, 3, 4)}
    assert "layer3.0.se.fc1.weight and 1 more left over" in refusal(torch_file(squeezed))
    message = refusal(torch_file(without(resnet18, "layer4.1.")))
    assert "layer4.1.conv1.weight, layer4.1.bn1.weight, layer4.1.bn1.bias and 7 more missing." in message
    assert "has no classifier (fc.weight, fc.bias)" in refusal(torch_file(without(resnet18, "fc.")))


def test_names_in_a_file_cannot_write_to_the_terminal(resnet18, torch_file, refusal):
    message = refusal(torch_file(resnet18 | {"\x1b[2J": np.ones(1, np.float32), "a" * 1000: np.ones(1, np.float32)}))
    assert message.isprintable()
    assert len(message) < 1000


def test_layers_of_other_shapes_are_named_with_both_shapes(resnet18, torch_file, refusal):
    wide = {f"layer1.{block}.conv{i}.weight": np.zeros((9, 64, 3, 3), np.float32) for block in (0, 1) for i in (1, 2)}
    message = refusal(torch_file(resnet18 | wide))
    assert "layer1.0.conv1.weight is [9, 64, 3, 3], not [64, 64, 3, 3]" in message
    assert "and 1 more." in message
    flat = {"fc.bias": np.ones((1, 7), np.float32)}
    assert "fc.bias is [1, 7], not [classes]" in refusal(torch_file(resnet18 | flat))
    assert "fc.weight is [7, 512], not [8, 512]" in refusal(torch_file(resnet18 | {"fc.bias": np.ones(8, np.float32)}))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(number, resnet18, torch_file, refusal):
    harmed = resnet18["layer2.0.conv1.weight"].copy()
    harmed[1, 2, 0, 0] = number
    assert "NaN or infinite numbers in layer2.0.conv1.weight" in refusal(
        torch_file(resnet18 | {"layer2.0.conv1.weight": harmed})
    )


def test_whole_numbers_and_negative_variances_are_refused(resnet18, torch_file, refusal):
    quantized = {"conv1.weight": resnet18["conv1.weight"].astype(np.int8)}
    assert "not floating point: conv1.weight is I8" in refusal(torch_file(resnet18 | quantized))
    negative = {"bn1.running_var": -resnet18["bn1.running_var"]}
    assert "variances below zero in bn1.running_var" in refusal(torch_file(resnet18 | negative))


READ_THEN_CONFIGURE = """
import sys
from pathlib import Path
import tensorflow as tf
from resnet.weights.sources import read_source

read_source(Path(sys.argv[1]))
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
"""


def test_devices_can_still_be_set_up_after_weights_are_read(own_file):
    """Training does: on GPUs, TensorFlow must not have run anything before."""
    ended = subprocess.run([sys.executable, "-c", READ_THEN_CONFIGURE, own_file], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


@pytest.fixture
def source(tmp_path):
    """source("Keras", depth=50): one with these settings, and no tensors."""

    def make(layout: str, **settings) -> Source:
        return Source(tmp_path / "file", "", layout, {}, settings, 7, [])

    return make


def test_a_recipe_for_another_network_is_refused_with_the_overrides_to_paste(source):
    ours = source("this project", depth=50, stride_in="3x3", normalization="torch", epsilon=1e-5)
    with pytest.raises(UserError) as refused:
        require_settings(ours, Model(depth=18, normalization="caffe"))
    assert str(refused.value).endswith(
        "model.depth must be 50, but is 18; model.stride_in must be 3x3, but is 1x1; "
        "model.normalization must be torch, but is caffe. Set it in the recipe, or add "
        """--override '["model.depth=50", "model.stride_in=3x3", "model.normalization=torch"]'"""
    )


def test_what_is_unknown_may_be_anything(source):
    require_settings(source("this project", depth=20), Model(depth=20, normalization="caffe"))


def test_a_default_that_differs_from_the_layouts_convention_is_refused(source):
    with pytest.raises(UserError, match=r"model\.epsilon must be 1\.001e-05, but is 1e-05"):
        require_settings(source("Keras", depth=50, epsilon=1.001e-5), Model(depth=50))


def test_a_recipe_that_departs_from_the_layouts_convention_on_purpose_is_obeyed(source, caplog):
    theirs = source("torchvision or timm", depth=50, normalization="torch", stride_in="3x3")
    require_settings(theirs, Model(depth=50, normalization="unit", stride_in="3x3"))
    assert "are usually for model.normalization=torch; the recipe's unit is used" in caplog.text
    with pytest.raises(UserError, match=r"model\.depth must be 50, but is 18\. Set"):
        require_settings(theirs, Model(depth=18, normalization="unit", stride_in="1x1"))
