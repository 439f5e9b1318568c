"""Weights in safetensors files: what comes back, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from resnet.errors import UserError
from resnet.model.network import ResNet
from resnet.weights.safetensors_files import load_weights, read_facts, read_tensors, write_tensors, write_weights


def test_weights_and_statistics_come_back_bit_for_bit(tmp_path):
    written, read = ResNet(20, 3, seed=1), ResNet(20, 3, seed=2)
    load_weights(write_weights(tmp_path / "weights.safetensors", written), read)
    for name, variable in written.named_variables().items():
        assert read.named_variables()[name].numpy().tobytes() == variable.numpy().tobytes(), name


def test_the_file_says_which_network_it_is_for(tmp_path):
    assert read_facts(write_weights(tmp_path / "weights.safetensors", ResNet(20, 3))) == {"network": "resnet20"}


def test_tensors_and_facts_come_back(tmp_path):
    tensors = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.zeros(0, np.float32)}
    write_tensors(tmp_path / "file", tensors, {"step": "7"})
    found, facts = read_tensors(tmp_path / "file")
    assert facts == {"step": "7"}
    assert set(found) == {"a", "b"}
    np.testing.assert_array_equal(found["b"], tensors["b"])


@pytest.mark.parametrize("harm", ["missing", "truncated", "not safetensors"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, harm):
    path = write_weights(tmp_path / "weights.safetensors", ResNet(20, 3))
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:1000] if harm == "truncated" else b"text")
    with pytest.raises(UserError, match=r"weights\.safetensors is not a complete safetensors file"):
        load_weights(path, ResNet(20, 3))
    assert read_facts(path) == {}


@pytest.mark.parametrize(
    ("depth", "classes", "reason"),
    [(32, 3, "only one of the two has"), (20, 4, "classifier/bias is \\(3,\\), not \\(4,\\)")],
)
def test_weights_of_another_network_are_refused_and_change_nothing(tmp_path, depth, classes, reason):
    path = write_weights(tmp_path / "weights.safetensors", ResNet(20, 3, seed=1))
    other = ResNet(depth, classes, seed=2)
    before = {name: variable.numpy() for name, variable in other.named_variables().items()}
    with pytest.raises(UserError, match=f"is for another network: .*{reason}"):
        load_weights(path, other)
    assert all(np.array_equal(before[name], variable.numpy()) for name, variable in other.named_variables().items())
