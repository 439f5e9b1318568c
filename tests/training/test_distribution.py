import gc
import os
import weakref

import numpy as np
import pytest
import tensorflow as tf

from resnet.artifacts import Machine
from resnet.errors import UserError
from resnet.training import distribution
from resnet.training.distribution import make_strategy


def test_gpus_that_are_asked_for_and_not_there_are_an_error_and_no_silent_change_to_the_processor():
    with pytest.raises(UserError, match=r"1000 GPUs are asked for \(devices\), but TensorFlow finds \d+"):
        make_strategy(Machine(devices=1000))


def test_without_gpus_the_processor_is_one_device():
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has GPUs")
    assert distribution.device_names(make_strategy(Machine(), groups=4)) == [
        f"CPU ({len(os.sched_getaffinity(0))} cores)"
    ]


def aligned(shape: tuple[int, ...]) -> np.ndarray:
    size = int(np.prod(shape))
    memory = np.zeros(size + distribution.ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % distribution.ALIGNMENT
    return memory[start : start + size].reshape(shape)


def test_a_batch_enters_tensorflow_without_a_copy():
    batch = aligned((4, 8, 8, 3))
    tensor = distribution.lend(batch)
    batch[2, 3, 4] = (1, 2, 3)
    assert tensor[2, 3, 4].numpy().tolist() == [1, 2, 3]


def test_the_memory_stays_for_as_long_as_the_tensor():
    batch, gone = aligned((4, 8, 8, 3)), []
    weakref.finalize(batch, gone.append, True)
    tensor = distribution.lend(batch)
    del batch
    assert not gone
    del tensor
    gc.collect()
    assert gone


def test_memory_that_kernels_could_not_work_on_is_copied():
    batch = aligned((4, 8, 8, 3))
    for part in (batch.reshape(-1)[1:], batch[:, 1:3], batch[1:, ::2]):
        tensor = distribution.lend(part)
        assert tf.reduce_sum(tf.cast(tensor, tf.int32)).numpy() == 0
        batch[:] = 5
        assert not tensor.numpy().any()
        batch[:] = 0
