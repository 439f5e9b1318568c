"""The weights of the best epoch are kept, whatever happens in between."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from resnet.model.network import ResNet
from resnet.training import best_weights
from resnet.training.best_weights import BestWeights
from resnet.weights.safetensors_header import read_facts
from resnet.weights.tensor_files import read_tensors

CLASSES = [("cat", "cat"), ("dog", "dog")]


@pytest.fixture(scope="module")
def network() -> ResNet:
    return ResNet(8, 2)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "best.safetensors"


def offer(path: Path, network: ResNet, *errors: float) -> None:
    """In epochs of 5 steps, of which each leaves its number as the bias."""
    best = BestWeights(path, network, CLASSES)
    for epoch, error in enumerate(errors, 1):
        network.classifier.bias.assign(np.full(2, epoch, np.float32))
        best.offer(5 * epoch, error)


def bias(path: Path) -> list[float]:
    return read_tensors(path)[0]["classifier/bias"].tolist()


@pytest.mark.parametrize(("errors", "epoch"), [((30.0, 20.0), 2), ((20.0, 20.0), 1), ((20.0, 30.0), 1)])
def test_the_weights_of_the_first_epoch_with_the_lowest_error_are_kept(network, path, errors, epoch):
    offer(path, network, *errors)
    assert bias(path) == [epoch, epoch]
    assert {name: read_facts(path)[name] for name in ("step", "validation_top1_error", "classes")} == {
        "step": 5 * epoch,
        "validation_top1_error": min(errors),
        "classes": [list(names) for names in CLASSES],
    }


def test_the_lowest_error_before_an_interruption_counts_to_the_last_digit(network, path):
    offer(path, network, 100 * 4 / 359)
    before = path.read_bytes()
    offer(path, network, 30.0, 100 * 4 / 359)
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", [lambda content: content[:100], lambda content: content.replace(b"30.5", b"10.5")])
def test_a_damaged_file_is_named_and_replaced(network, path, damage, caplog):
    """Also one whose header says a lower error than it had."""
    offer(path, network, 30.5)
    path.write_bytes(damage(path.read_bytes()))
    offer(path, network, 90.0)
    assert bias(path) == [1, 1]
    assert read_facts(path)["validation_top1_error"] == 90.0
    assert f"{path} is not a complete safetensors file" in caplog.text
    assert "; the next weights count as the best" in caplog.text


def test_a_folder_in_its_place_does_not_stop_training(network, path, caplog):
    path.mkdir()
    offer(path, network, 90.0)
    assert "cannot be read: Is a directory" in caplog.text
    assert "cannot be written (Is a directory); training goes on" in caplog.text


def test_a_full_disk_keeps_the_best_so_far_and_the_next_better_one_is_written(network, path, monkeypatch, caplog):
    offer(path, network, 30.0)
    best = BestWeights(path, network, CLASSES)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(best_weights, "write_weights", full)
        best.offer(5, 10.0)
    assert "best.safetensors cannot be written (No space left on device); training goes on" in caplog.text
    best.offer(10, 20.0)
    assert read_facts(path)["validation_top1_error"] == 20.0
