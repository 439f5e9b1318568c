"""Which devices a stage uses, and how batches reach TensorFlow without a copy."""

from __future__ import annotations

import ctypes
import gc
import os
import weakref
from typing import get_args

import numpy as np
import pytest
import tensorflow as tf

from resnet.devices import device_names, gpu_memory, lend, make_strategy, peak_gpu_memory, shared_strategy
from resnet.devices.placing import ALIGNMENT
from resnet.devices.strategy import sharing
from resnet.errors import UserError
from resnet.run import Machine
from resnet.settings import Training


def test_missing_gpus_are_an_error_and_not_silently_replaced_by_the_cpu():
    with pytest.raises(UserError, match=r"devices asks for 1000 GPUs, but TensorFlow finds \d+"):
        make_strategy(Machine(devices=1000))


def test_without_gpus_the_cpu_is_one_device():
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has GPUs")
    assert device_names(make_strategy(Machine(), replicas=4)) == [f"CPU ({len(os.sched_getaffinity(0))} cores)"]


@pytest.mark.parametrize(
    ("is_loaded", "hidden", "is_said"),
    [(True, None, True), (True, "0", True), (True, "", False), (True, "-1", False), (False, None, False)],
)
def test_a_warning_says_that_tensorflow_finds_no_gpu_unless_they_are_hidden(
    is_loaded, hidden, is_said, tmp_path, monkeypatch, caplog
):
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has GPUs")
    version = tmp_path / "version"
    if is_loaded:
        version.touch()
    monkeypatch.setattr("resnet.devices.strategy.NVIDIA_DRIVER", version)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    make_strategy(Machine())
    start = "NVIDIA's driver is loaded, but TensorFlow finds no GPU and uses the CPU; "
    assert any(message.startswith(start) for message in caplog.messages) == is_said


@pytest.fixture
def chosen(monkeypatch):
    """What `make_strategy` asks of TensorFlow, by name."""
    calls: dict[str, list] = {"tensor_float_32": [], "determinism": []}
    experimental = tf.config.experimental
    monkeypatch.setattr(experimental, "enable_tensor_float_32_execution", calls["tensor_float_32"].append)
    monkeypatch.setattr(experimental, "enable_op_determinism", lambda: calls["determinism"].append(True))
    return calls


@pytest.mark.parametrize("precision", get_args(Training.model_fields["precision"].annotation))
def test_inputs_are_rounded_to_tensorfloat_32_only_where_the_recipe_says_so(precision, chosen):
    make_strategy(Machine(), precision=precision)
    assert chosen["tensor_float_32"] == [precision == "tensorfloat32"]


@pytest.mark.parametrize("deterministic", [True, False])
def test_operations_are_deterministic_only_where_the_recipe_says_so(deterministic, chosen):
    make_strategy(Machine(), deterministic=deterministic)
    assert chosen["determinism"] == [True] * deterministic


@pytest.mark.parametrize(
    ("available", "replicas", "hosts", "used"),
    [(4, 4, 1, 4), (4, 6, 1, 3), (4, 6, 2, 3), (3, 4, 2, 2), (4, 7, 1, 1), (4, 1, 1, 1), (4, 0, 1, 4), (1, 12, 3, 1)],
)
def test_as_many_devices_of_each_host_are_used_as_share_the_replicas_evenly(available, replicas, hosts, used, caplog):
    assert sharing(available, replicas, hosts) == used
    assert bool(caplog.messages) == (used < available)


def test_a_shared_strategy_is_made_where_tensorflow_runs_already(monkeypatch):
    def refuse(device, enable):
        raise RuntimeError("Physical devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [f"a {kind}"])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", refuse)
    assert shared_strategy().num_replicas_in_sync >= 1


def test_the_peak_of_gpus_is_that_of_the_largest_and_0_where_tensorflow_does_not_say(monkeypatch):
    peaks = {"/device:GPU:0": {"peak": 5}, "/device:GPU:1": {"peak": 7}}
    gpus = [tf.config.LogicalDevice(name, "GPU") for name in peaks]
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: gpus if kind == "GPU" else [])
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", peaks.__getitem__)
    assert peak_gpu_memory() == 7

    def refuse(name):
        raise ValueError("Allocator stats not available")

    monkeypatch.setattr(tf.config.experimental, "get_memory_info", refuse)
    assert peak_gpu_memory() == 0
    gpus.clear()
    assert peak_gpu_memory() == 0


def test_memory_of_gpus_that_the_driver_does_not_tell_is_a_warning_and_0(monkeypatch, caplog):
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["a GPU"])
    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert gpu_memory() == 0
    assert "libcuda.so.1: cannot open shared object file" in caplog.text


def aligned(shape: tuple[int, ...]) -> np.ndarray:
    size = int(np.prod(shape))
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].reshape(shape)


def test_a_batch_enters_tensorflow_without_a_copy():
    batch = aligned((4, 8, 8, 3))
    tensor = lend(batch)
    batch[2, 3, 4] = (1, 2, 3)
    assert tensor[2, 3, 4].numpy().tolist() == [1, 2, 3]


def test_the_memory_of_a_batch_lives_as_long_as_its_tensor():
    batch, gone = aligned((4, 8, 8, 3)), []
    weakref.finalize(batch, gone.append, True)
    tensor = lend(batch)
    del batch
    assert not gone
    del tensor
    gc.collect()
    assert gone


def test_unaligned_or_scattered_memory_is_copied():
    batch = aligned((4, 8, 8, 3))
    for view in (batch.reshape(-1)[1:], batch[:, 1:3], batch[1:, ::2]):
        tensor = lend(view)
        assert tf.reduce_sum(tf.cast(tensor, tf.int32)).numpy() == 0
        batch[:] = 5
        assert not tensor.numpy().any()
        batch[:] = 0
