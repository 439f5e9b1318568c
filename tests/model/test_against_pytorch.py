"""The same comparison with PyTorch, whose kernels, padding and batch normalisation are independent of TensorFlow's.

PyTorch is not a dependency of the project. These tests run where it is installed:
    pip install --target /tmp/torch torch && PYTHONPATH=/tmp/torch pytest tests/model/test_against_pytorch.py
"""

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

from resnet.model.network import ResNet

torch = pytest.importorskip("torch", reason="PyTorch is not installed; only this comparison needs it")
nn, functional = torch.nn, torch.nn.functional

PARAMETERS = {
    "scale": "weight",
    "offset": "bias",
    "mean": "running_mean",
    "variance": "running_var",
    "kernel": "weight",
}


class ConvNorm(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=(kernel - 1) // 2, bias=False)
        # Momentum 0: training mode does not change the running statistics that were copied.
        self.norm = nn.BatchNorm2d(outputs, eps=1e-5, momentum=0)

    def forward(self, x):
        return self.norm(self.conv(x))


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, stride_in: str):
        super().__init__()
        self.first = ConvNorm(inputs, width, 3, stride)
        self.second = ConvNorm(width, width, 3, 1)
        self.shortcut = ConvNorm(inputs, width, 1, stride) if stride > 1 or inputs != width else nn.Identity()

    def forward(self, x, activation):
        return activation(self.second(activation(self.first(x))) + self.shortcut(x))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, stride_in: str):
        super().__init__()
        self.first = ConvNorm(inputs, width, 1, stride if stride_in == "1x1" else 1)
        self.second = ConvNorm(width, width, 3, stride if stride_in == "3x3" else 1)
        self.third = ConvNorm(width, 4 * width, 1, 1)
        self.shortcut = ConvNorm(inputs, 4 * width, 1, stride) if stride > 1 or inputs != 4 * width else nn.Identity()

    def forward(self, x, activation):
        return activation(self.third(activation(self.second(activation(self.first(x))))) + self.shortcut(x))


class TorchResNet(nn.Module):
    def __init__(self, depth: int, stride_in: str, activation):
        super().__init__()
        self.activation = activation
        block, counts = {18: (BasicBlock, [2, 2, 2, 2]), 50: (Bottleneck, [3, 4, 6, 3])}[depth]
        self.stem = ConvNorm(3, 64, 7, 2)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.stages = nn.ModuleList()
        inputs = 64
        for width, count, stride in zip([64, 128, 256, 512], counts, [1, 2, 2, 2], strict=True):
            self.stages.append(nn.ModuleList())
            for i in range(count):
                self.stages[-1].append(block(inputs, width, stride if i == 0 else 1, stride_in))
                inputs = width * block.expansion
        self.classifier = nn.Linear(inputs, CLASSES)

    def forward(self, images):
        x = self.pool(self.activation(self.stem(images.permute(0, 3, 1, 2).float() / 255)))
        for stage in self.stages:
            for block in stage:
                x = block(x, self.activation)
        return self.classifier(x.mean((2, 3)))


class TorchReference:
    """A network with the given weights, named as in the project's network, such as stage1/block1/conv1/kernel."""

    def __init__(self, depth: int, stride_in: str, weights: dict[str, np.ndarray], activation=functional.relu):
        self._network = TorchResNet(depth, stride_in, activation)
        state = {torch_name(name): torch.tensor(to_torch_layout(value)) for name, value in weights.items()}
        missing, unexpected = self._network.load_state_dict(state, strict=False)
        assert not unexpected
        assert all(name.endswith("num_batches_tracked") for name in missing)

    def logits(self, images: np.ndarray, training: bool) -> np.ndarray:
        with torch.no_grad():
            return self._network.train(training)(torch.tensor(images)).numpy()

    def gradients(self, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        """Of the mean cross-entropy, in training mode, by PyTorch's names of the weights."""
        self._network.zero_grad()
        logits = self._network.train()(torch.tensor(images))
        functional.cross_entropy(logits, torch.tensor(labels, dtype=torch.int64)).backward()
        return {name: weight.grad.numpy() for name, weight in self._network.named_parameters()}


def torch_name(name: str) -> str:
    """PyTorch's name of a weight: stage1/block1/conv1/kernel becomes stages.0.0.first.conv.weight."""
    *path, layer, parameter = name.split("/")
    parameter = PARAMETERS.get(parameter, parameter)
    if layer == "classifier":
        return f"classifier.{parameter}"
    kind = "norm" if "norm" in layer else "conv"
    if path == ["stem"]:
        return f"stem.{kind}.{parameter}"
    stage, block = (int(name.removeprefix("stage").removeprefix("block")) - 1 for name in path)
    role = "shortcut" if layer.startswith("projection") else ("first", "second", "third")[int(layer[-1]) - 1]
    return f"stages.{stage}.{block}.{role}.{kind}.{parameter}"


def to_torch_layout(value: np.ndarray) -> np.ndarray:
    """Kernels: height, width, in, out becomes out, in, height, width; the classifier's in, out becomes out, in."""
    return value.transpose({4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[value.ndim])


def gradients_in_torch_layout(network: ResNet, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    ours = gradients(network, images, labels)
    return {torch_name(name): to_torch_layout(gradient) for name, gradient in ours.items()}


@dataclass
class Case:
    depth: int
    stride_in: str
    images: np.ndarray
    labels: np.ndarray
    network: ResNet
    reference: TorchReference


@pytest.fixture(scope="module", params=[(18, "1x1"), (50, "1x1"), (50, "3x3")], ids=lambda p: f"{p[0]}-{p[1]}")
def case(request: pytest.FixtureRequest) -> Case:
    depth, stride_in = request.param
    images, labels = images_and_labels(8, 64)
    network = network_with_random_norms(depth, stride_in, images)
    return Case(depth, stride_in, images, labels, network, TorchReference(depth, stride_in, weights(network)))


def test_logits_equal_those_of_the_same_network_in_pytorch(case: Case):
    logits, _ = case.network(case.images, training=False)
    assert relative_difference(logits.numpy(), case.reference.logits(case.images, training=False)) < INFERENCE_LOGITS


def test_logits_in_training_mode_equal_those_of_the_same_network_in_pytorch(case: Case):
    logits, _ = case.network(case.images, training=True)
    assert relative_difference(logits.numpy(), case.reference.logits(case.images, training=True)) < TRAINING_LOGITS


def test_gradients_equal_those_of_the_same_network_in_pytorch_except_where_relu_jumps(case: Case):
    ours = gradients_in_torch_layout(case.network, case.images, case.labels)
    difference, name = greatest_difference(ours, case.reference.gradients(case.images, case.labels))
    assert difference < GRADIENTS_WITH_RELU, name


def test_gradients_with_a_smooth_activation_equal_those_of_the_same_network_in_pytorch_to_rounding(
    case: Case, monkeypatch: pytest.MonkeyPatch
):
    smooth = TorchReference(case.depth, case.stride_in, weights(case.network), functional.softplus)
    theirs = smooth.gradients(case.images, case.labels)
    monkeypatch.setattr(tf.nn, "relu", tf.nn.softplus)
    difference, name = greatest_difference(gradients_in_torch_layout(case.network, case.images, case.labels), theirs)
    assert difference < GRADIENTS_WITH_SOFTPLUS, name
