"""Which layers of trained weights a network takes, and what that is worth."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from resnet.errors import UserError
from resnet.model.network import ResNet
from resnet.settings import Training
from resnet.training.start import take_layers
from resnet.training.step import TrainStep
from resnet.weights.safetensors_files import write_weights
from resnet.weights.sources import read_source

PETS = [("cat", "cat"), ("dog", "dog"), ("finch", "zebra finch")]
BACKBONE = ["stem", "stage1", "stage2", "stage3"]


@pytest.fixture(scope="module")
def trained() -> ResNet:
    """A network whose every number is its own, statistics included."""
    network = ResNet(8, len(PETS), seed=1)
    random = np.random.default_rng(0)
    for variable in network.variables:
        variable.assign(random.uniform(0.5, 1.5, variable.shape).astype(np.float32))
    return network


def taken(network: ResNet, trained: ResNet) -> set[str]:
    """The layers of which a network has every number of another one's."""
    theirs = trained.named_variables()
    layers: dict[str, bool] = {}
    for name, variable in network.named_variables().items():
        layer, value = name.split("/")[0], theirs[name].numpy()
        layers[layer] = layers.get(layer, True) and np.array_equal(variable.numpy(), value)
    return {layer for layer, same in layers.items() if same}


@pytest.mark.parametrize(
    ("theirs", "ours", "reason"),
    [
        (PETS, PETS, "the classes are the same"),
        ([], PETS, "3 classes in both; the file does not name its own"),
        (PETS, [("cat", "Katze"), *PETS[1:]], "the classes are the same"),  # another language
    ],
)
def test_a_network_for_the_same_classes_takes_every_layer(trained, tmp_path, theirs, ours, reason):
    source = read_source(write_weights(tmp_path / "weights.safetensors", trained, theirs))
    network = ResNet(8, len(ours))
    assert take_layers(source, network, ours) == ([*BACKBONE, "classifier"], [], reason)
    assert taken(network, trained) == {*BACKBONE, "classifier"}


@pytest.mark.parametrize(
    ("ours", "reason"),
    [
        ([*PETS, ("hamster", "hamster")], "for 4 classes instead of 3"),
        ([PETS[0], ("hamster", "hamster"), PETS[2]], "for other classes: hamster instead of dog"),
        (PETS[::-1], "for other classes: finch instead of cat"),
    ],
)
def test_a_network_for_other_classes_keeps_a_new_classifier(trained, tmp_path, ours, reason):
    source = read_source(write_weights(tmp_path / "weights.safetensors", trained, PETS))
    network, new = ResNet(8, len(ours)), ResNet(8, len(ours))
    assert take_layers(source, network, ours) == (BACKBONE, ["classifier"], reason)
    for name in ("classifier/kernel", "classifier/bias"):
        assert np.array_equal(network.named_variables()[name], new.named_variables()[name])
    variables, expected = network.named_variables(), trained.named_variables()
    backbone = [name for name in expected if not name.startswith("classifier")]
    assert all(np.array_equal(variables[name], expected[name]) for name in backbone)


def test_weights_of_another_network_change_nothing(trained, tmp_path):
    source = read_source(write_weights(tmp_path / "weights.safetensors", trained, PETS))
    network, before = ResNet(32, len(PETS)), ResNet(32, len(PETS))
    with pytest.raises(UserError, match="is for another network"):
        take_layers(source, network, PETS)
    assert taken(network, before) == {*BACKBONE, "classifier"}


class Tuning:
    """Trains one network for eight kinds of texture."""

    def __init__(self):
        self.strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
        with self.strategy.scope():
            self.network = ResNet(8, 8)
            self.step = TrainStep(self.network, self.strategy, Training(batch_size=16, replica_batch_size=16))
        self.changing = [*self.network.variables, *self.step.state.values()]
        self._initial = [variable.numpy() for variable in self.changing]

    def reset(self) -> None:
        for variable, value in zip(self.changing, self._initial, strict=True):
            variable.assign(value)

    def train(self, images: np.ndarray, labels: np.ndarray, epochs: int) -> None:
        random = np.random.default_rng(0)
        for _ in range(epochs):
            for rows in random.permutation(len(images)).reshape(-1, 16):
                self.step(images[rows], labels[rows], 0.03)

    def error(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Top-1 error in percent, with the images' own statistics: the moving ones lag behind after so few steps."""
        logits, _ = self.network(tf.constant(images), training=True)
        return 100 * float(np.mean(logits.numpy().argmax(1) != labels))


def textures(kinds: range, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` images of each kind, 16x16 pixels, and labels from 0 on: waves in noise, 8 directions and 2 lengths."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16]
    images, labels = [], []
    for label, kind in enumerate(kinds):
        angle, frequency = np.pi * (kind % 8) / 8, (0.9, 1.8)[kind // 8]
        for _ in range(count):
            wave = np.sin(frequency * (x * np.cos(angle) + y * np.sin(angle)) + random.uniform(0, 2 * np.pi))
            grey = 128 + random.uniform(20, 50) * wave
            images.append(np.clip(grey[:, :, None] + random.normal(0, 40, (16, 16, 3)), 0, 255).astype(np.uint8))
            labels.append(label)
    return np.array(images), np.array(labels, np.int32)


def test_two_epochs_on_few_images_of_new_classes_go_far_better_from_trained_weights(tmp_path):
    """Measured: 23.5 % error, and 80.8 % from scratch. With eight images of each new class."""
    known, new = range(0, 16, 2), range(1, 16, 2)
    tuning = Tuning()
    tuning.train(*textures(known, 100, seed=0), epochs=3)
    source = read_source(
        write_weights(tmp_path / "weights.safetensors", tuning.network, [(str(kind), "") for kind in known])
    )
    errors = {}
    for start in ("scratch", "trained"):
        tuning.reset()
        if start == "trained":
            assert take_layers(source, tuning.network, [(str(kind), "") for kind in new]).new == ["classifier"]
        tuning.train(*textures(new, 8, seed=1), epochs=2)
        errors[start] = tuning.error(*textures(new, 50, seed=2))
    assert errors["trained"] < 0.5 * errors["scratch"], errors
