"""Files of weights that several tests read or damage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from model.conftest import full_float32_products  # noqa: F401 (a fixture for this folder too)
from safetensors.numpy import save_file
from weights.torchvision_logits import RECORD, images, numbers

from resnet.errors import UserError
from resnet.model.network import ResNet
from resnet.weights.safetensors_files import assign
from resnet.weights.sources import Source, read_source


@pytest.fixture(scope="session")
def torchvision_record() -> dict[int, dict]:
    """What `torchvision_logits.py` recorded of each depth: shapes and logits."""
    return {int(depth): network for depth, network in json.loads(RECORD.read_text())["networks"].items()}


@pytest.fixture(scope="session")
def state_dict(torchvision_record) -> Callable[[int], dict[str, np.ndarray]]:
    """state_dict(18): the tensors that the recorded network had, under torchvision's names."""

    def make(depth: int) -> dict[str, np.ndarray]:
        shapes = torchvision_record[depth]["shapes"]
        return {name: numbers(name, shape) if shape else np.array(7) for name, shape in shapes.items()}

    return make


@pytest.fixture(scope="session")
def resnet18(state_dict) -> dict[str, np.ndarray]:
    """A state dict of torchvision's ResNet-18. Not to be changed: copy it."""
    return state_dict(18)


@pytest.fixture
def torch_file(tmp_path) -> Callable[[dict[str, np.ndarray]], Path]:
    """torch_file(tensors): a safetensors file of them, as torch saves it."""

    def write(tensors: dict[str, np.ndarray]) -> Path:
        save_file(tensors, tmp_path / "resnet.safetensors", {"format": "pt"})
        return tmp_path / "resnet.safetensors"

    return write


@pytest.fixture(scope="session")
def refusal() -> Callable[[Path], str]:
    """refusal(path): the message with which a file is refused; it names the file, once, and says what to do."""

    def read(path: Path) -> str:
        with pytest.raises(UserError) as refused:
            read_source(path)
        message = str(refused.value)
        assert message.startswith(str(path))
        assert any(advice in message for advice in ("Give ", "Get ", "Save ", "Convert ", "save "))
        return message

    return read


@pytest.fixture(scope="session")
def network_of() -> Callable[[Source], ResNet]:
    """network_of(source): our network, with its settings and tensors."""

    def make(source: Source) -> ResNet:
        settings = dict(source.settings)
        network = ResNet(settings.pop("depth"), source.outputs, **settings)
        assign(network.named_variables(), source.tensors, source.path)
        return network

    return make


@pytest.fixture(scope="session")
def keras_network() -> keras.Model:
    """Keras's ResNet50 for 7 classes, with random statistics and biases. Its output is logits."""
    network = keras.applications.ResNet50(
        weights=None, classes=7, classifier_activation=None, input_shape=images().shape[1:]
    )
    random = np.random.default_rng(1)
    for variable in network.variables:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
        elif variable.name in ("beta", "moving_mean", "bias"):
            variable.assign(random.normal(0, 0.3, variable.shape))
    return network


@pytest.fixture(scope="session")
def keras_files(keras_network, tmp_path_factory) -> dict[str, Path]:
    """The network in each kind of file. Not to be changed: copy it."""
    folder = tmp_path_factory.mktemp("keras")
    keras_network.save(folder / "resnet.h5")
    keras_network.save(folder / "resnet.keras")
    keras_network.save_weights(folder / "resnet.weights.h5")
    return {kind: folder / f"resnet.{kind}" for kind in ("h5", "keras", "weights.h5")}
