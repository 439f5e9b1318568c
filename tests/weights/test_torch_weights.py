"""Weights of torchvision and timm: the same logits, in whichever file they come."""

from __future__ import annotations

import io
import json
import logging
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from model.comparison import relative_difference
from weights.torchvision_logits import CLASSES, images

from resnet.errors import UserError
from resnet.weights.sources import read_source
from resnet.weights.torch_files import conversion
from resnet.weights.torch_files import state_dict as state_dict_in
from resnet.weights.torch_names import TORCH

SAME_LOGITS = 1e-4  # measured: 5.7e-7


@pytest.mark.parametrize("depth", [18, 50])
def test_logits_are_those_of_torchvision(depth, torchvision_record, state_dict, torch_file, network_of):
    source = read_source(torch_file(state_dict(depth)))
    assert (source.layout, source.outputs, source.classes) == ("torchvision or timm", CLASSES, [])
    logits, _ = network_of(source)(images(), training=False)
    expected = np.array(torchvision_record[depth]["logits"], np.float32)
    assert relative_difference(logits.numpy(), expected) < SAME_LOGITS


def test_settings_are_those_of_torchvision(resnet18, torch_file):
    """The stride of a bottleneck makes no difference where there is none."""
    assert read_source(torch_file(resnet18)).settings == {"depth": 18, "normalization": "torch", "epsilon": 1e-5}
    assert TORCH.settings(50) == {"depth": 50, "normalization": "torch", "epsilon": 1e-5, "stride_in": "3x3"}


def test_the_prefix_of_data_parallel_is_taken_off(resnet18, torch_file):
    plain = read_source(torch_file(resnet18)).tensors
    prefixed = read_source(torch_file({f"module.{name}": array for name, array in resnet18.items()})).tensors
    assert plain.keys() == prefixed.keys()
    assert all(np.array_equal(plain[name], prefixed[name]) for name in plain)


def safetensors(tensors: dict[str, np.ndarray], code: str) -> bytes:
    """The content of a safetensors file; its own library for NumPy has no bfloat16."""
    header, end = {}, 0
    for name, array in tensors.items():
        header[name] = {"dtype": code, "shape": array.shape, "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(array.tobytes() for array in tensors.values())


@pytest.mark.parametrize(("code", "dtype"), [("F16", tf.float16), ("BF16", tf.bfloat16)])
def test_numbers_of_half_length_become_float32_and_that_is_said(code, dtype, resnet18, tmp_path, caplog):
    halves = {key: array.astype(dtype.as_numpy_dtype) for key, array in resnet18.items() if array.ndim}
    (tmp_path / "half.safetensors").write_bytes(safetensors(halves, code))
    with caplog.at_level(logging.INFO):
        read = read_source(tmp_path / "half.safetensors").tensors
    assert f"numbers of type {dtype.name} become float32" in caplog.text
    assert read["classifier/bias"].dtype == np.float32
    np.testing.assert_array_equal(read["classifier/bias"], halves["fc.bias"].astype(np.float32))


def a_pickle() -> bytes:
    """What torch.save wrote before it wrote zips begins like this."""
    return pickle.dumps({"conv1.weight": [1.0]}, 2)


def a_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", a_pickle())
    return file.getvalue()


@pytest.mark.parametrize("content", [a_pickle(), a_zip()], ids=["pickle", "zip"])
def test_without_torch_the_message_has_the_command_that_converts(content, tmp_path, monkeypatch, refusal):
    monkeypatch.setitem(sys.modules, "torch", None)
    path = tmp_path / "two words.pth"
    path.write_bytes(content)
    message = refusal(path)
    assert "torch, which is not installed here" in message
    assert message.splitlines()[1:] == [conversion(path)]
    assert conversion(path).endswith(f"'{path}' '{tmp_path / 'two words.safetensors'}'")


def test_a_checkpoint_gives_its_weights_averaged_ones_first_and_says_so(caplog):
    weights, averaged = {"fc.bias": 1}, {"fc.bias": 2}
    assert state_dict_in(weights, Path("f")) == weights
    with caplog.at_level(logging.INFO):
        assert state_dict_in({"epoch": 3, "model": weights}, Path("f")) == weights
        assert state_dict_in({"state_dict": weights, "state_dict_ema": averaged}, Path("f")) == averaged
    assert "f is a checkpoint: model is taken, not epoch" in caplog.text
    assert "state_dict_ema is taken, not state_dict" in caplog.text


def test_what_is_not_a_state_dict_is_refused():
    with pytest.raises(UserError, match=r"f holds a list, not weights by name. Save them with torch\.save"):
        state_dict_in([1, 2], Path("f"))
