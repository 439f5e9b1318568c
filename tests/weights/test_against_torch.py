"""Files that torch writes, read with torch. These tests run where torch is installed, as those of the model do."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from model.comparison import relative_difference
from weights.torchvision_logits import CLASSES, images, torchvision_logits, with_numbers

from resnet.weights.fitting import variable_shapes
from resnet.weights.sources import read_source
from resnet.weights.torch_files import CONVERT
from resnet.weights.torch_names import torch_table

torch = pytest.importorskip("torch", reason="PyTorch is not installed; only these tests need it")


@pytest.fixture(scope="module")
def tensors(resnet18):
    return {name: torch.from_numpy(array.copy()) for name, array in resnet18.items()}


@pytest.mark.parametrize("nested", ["", "state_dict", "model", "model_state_dict", "state_dict_ema"])
@pytest.mark.parametrize("as_zip", [True, False], ids=["zip", "legacy"])
def test_a_file_of_torch_has_the_same_tensors_as_safetensors(nested, as_zip, tensors, resnet18, torch_file, tmp_path):
    content = {"epoch": 3, nested: tensors} if nested else tensors
    torch.save(content, tmp_path / "resnet18.pth", _use_new_zipfile_serialization=as_zip)
    read, expected = read_source(tmp_path / "resnet18.pth"), read_source(torch_file(resnet18))
    assert read.tensors.keys() == expected.tensors.keys()
    assert all(np.array_equal(read.tensors[name], expected.tensors[name]) for name in read.tensors)


def test_the_command_that_converts_gives_a_file_that_can_be_read(tensors, resnet18, torch_file, tmp_path):
    torch.save({"epoch": 3, "state_dict": tensors}, tmp_path / "a.pth")
    subprocess.run([sys.executable, "-c", CONVERT, tmp_path / "a.pth", tmp_path / "a.safetensors"], check=True)
    read, expected = read_source(tmp_path / "a.safetensors"), read_source(torch_file(resnet18))
    assert all(np.array_equal(read.tensors[name], expected.tensors[name]) for name in expected.tensors)


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path, refusal):
    path, trace = tmp_path / "harmful.pth", tmp_path / "trace"
    path.write_bytes(pickle.dumps({"conv1.weight": Harmful(trace)}, 2))
    assert "holds more than weights (posix.mkdir). Reading that could run code, so it is refused" in refusal(path)
    torch.save({"conv1.weight": Harmful(trace)}, path)
    assert "(posix.mkdir). Reading that could run code, so it is refused" in refusal(path)
    assert len(refusal(path).splitlines()) == 1
    assert not trace.exists()


def test_a_file_of_torch_that_is_cut_short_or_not_weights_is_refused(tensors, tmp_path, refusal):
    path = tmp_path / "resnet18.pth"
    torch.save(tensors, path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "is cut short or corrupt" in refusal(path)
    torch.save(tensors, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:100_000])
    assert "is cut short or corrupt" in refusal(path)
    torch.save([1, 2], path)
    assert "holds a list, not weights by name" in refusal(path)
    torch.save(tensors | {"epoch": 3}, path)
    assert "epoch left over" in refusal(path)
    torch.save(tensors | {"fc.bias": torch.sparse_coo_tensor([[0]], [1.0], (CLASSES,))}, path)
    assert "are not plain arrays" in refusal(path)


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_names_and_shapes_are_torchvisions(depth):
    models = pytest.importorskip("torchvision").models
    with torch.device("meta"):
        state = getattr(models, f"resnet{depth}")().state_dict()
    theirs = {name: tuple(tensor.shape) for name, tensor in state.items() if tensor.ndim}
    shapes = variable_shapes(depth, 1000)
    assert theirs == dict(pair for ours, t in torch_table(depth).items() for pair in t.expected(shapes[ours]))


def test_logits_of_torchvision_are_ours(torch_file, network_of):
    network = pytest.importorskip("torchvision").models.resnet18(num_classes=CLASSES)
    expected = torchvision_logits(with_numbers(network))
    source = read_source(torch_file({name: tensor.numpy() for name, tensor in network.state_dict().items()}))
    logits, _ = network_of(source)(images(), training=False)
    assert relative_difference(logits.numpy(), expected) < 1e-4
