"""Weights in safetensors files: what comes back, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save

from resnet.errors import UserError
from resnet.model.network import ResNet
from resnet.weights.safetensors_files import load_weights, write_weights
from resnet.weights.safetensors_header import read_facts
from resnet.weights.tensor_files import read_tensors, write_tensors


def test_weights_and_statistics_come_back_bit_for_bit(tmp_path):
    written, read = ResNet(20, 3, seed=1), ResNet(20, 3, seed=2)
    load_weights(write_weights(tmp_path / "weights.safetensors", written), read)
    for name, variable in written.named_variables().items():
        assert read.named_variables()[name].numpy().tobytes() == variable.numpy().tobytes(), name


def test_the_file_says_which_network_and_classes_it_is_for(tmp_path):
    network = ResNet(20, 2, normalization="torch", epsilon=1e-3)
    path = write_weights(tmp_path / "weights.safetensors", network, [("cat", "cat"), ("n02085620", "Chihuahua")])
    assert read_facts(path) == {
        "network": "resnet20",
        "settings": {"depth": 20, "stride_in": "1x1", "normalization": "torch", "epsilon": 1e-3},
        "classes": [["cat", "cat"], ["n02085620", "Chihuahua"]],
    }


def test_tensors_and_facts_come_back(tmp_path):
    tensors = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.zeros(0, np.float32)}
    write_tensors(tmp_path / "file", tensors, {"step": "7"})
    found, facts = read_tensors(tmp_path / "file")
    assert facts == {"step": "7"}
    assert set(found) == {"a", "b"}
    np.testing.assert_array_equal(found["b"], tensors["b"])


def test_facts_are_any_json(tmp_path):
    facts = {"step": 7, "keep": True, "corrupt": ["train-00000: byte 7"]}
    write_tensors(tmp_path / "file", {}, facts)
    assert read_tensors(tmp_path / "file")[1] == read_facts(tmp_path / "file") == facts


def test_a_file_of_an_earlier_version_is_read(tmp_path):
    tensors = {"a": np.arange(3, dtype=np.float32)}
    (tmp_path / "file").write_bytes(save(tensors, {"network": "resnet20"}))
    found, facts = read_tensors(tmp_path / "file")
    np.testing.assert_array_equal(found["a"], tensors["a"])
    assert facts == read_facts(tmp_path / "file") == {"network": "resnet20"}


@pytest.mark.parametrize("tensors", [{"b": np.ones(2)}, {"a": np.float64([1, 3])}, {"a": np.ones((1, 2))}])
def test_a_file_with_other_tensors_than_were_written_is_refused(tmp_path, tensors):
    """Name, number or shape: the file is a sound one of its kind, but the digest is another file's."""
    write_tensors(tmp_path / "file", {"a": np.ones(2)})
    with safe_open(tmp_path / "file", framework="numpy") as file:
        metadata = file.metadata()
    (tmp_path / "file").write_bytes(save(tensors, metadata))
    with pytest.raises(UserError, match="its SHA-256 does not match"):
        read_tensors(tmp_path / "file")


WRITE = """
import sys
from pathlib import Path
import numpy as np
from resnet.weights.tensor_files import write_tensors

names = sorted(map(str, range(20)), key=hash)
write_tensors(Path(sys.argv[1]), {name: np.full(3, int(name)) for name in names}, {name: int(name) for name in names})
"""


def test_equal_tensors_and_facts_make_equal_files_in_any_process(tmp_path):
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITE, str(tmp_path / seed)], env=os.environ | {"PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    ]
    assert [process.wait() for process in processes] == [0, 0]
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


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
