"""How a batch gets to the devices, and how what they have found gets to all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

ALIGNMENT = 64  # bytes: Eigen's, for AVX-512; kernels abort on less


def share(strategy: tf.distribute.Strategy, batch: np.ndarray) -> tf.Tensor:
    """Split a batch evenly across this host's devices, in order: a value for each, to hand to `strategy.run`."""
    size = len(batch) // len(strategy.extended.worker_devices)
    return deal(strategy, [batch[start : start + size] for start in range(0, len(batch), size)])


def deal(strategy: tf.distribute.Strategy, arrays: Sequence[np.ndarray]) -> tf.Tensor:
    """Give each of this host's devices its array: a value for each, to hand to `strategy.run`."""
    own = strategy.extended.worker_devices

    def of_device(context: tf.distribute.distribute_lib.ValueContext) -> tf.Tensor:
        index = context.replica_id_in_sync_group % len(own)  # it counts the devices of all hosts
        with tf.device(own[index]):
            return tf.identity(lend(arrays[index]))  # a GPU copies, a CPU does not

    return strategy.experimental_distribute_values_from_function(of_device)


def lend(array: np.ndarray) -> tf.Tensor:
    """A tensor on the array's own memory, which keeps it for as long as TensorFlow works on it.

    `tf.convert_to_tensor` would copy; here only memory that is not aligned as TensorFlow's kernels need it is copied.
    The array must not be written to any more.
    """
    if array.ctypes.data % ALIGNMENT or not array.flags.c_contiguous:
        return tf.constant(array)
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


class Gathered(NamedTuple):
    """What all devices have given: `values`, [devices, ...]. That of device i is `values[places[i]]`."""

    values: tf.Tensor
    places: tf.Tensor  # int32 [devices]

    def in_order(self) -> tf.Tensor:
        """The values in the order of the devices."""
        return tf.gather(self.values, self.places)


def gathered(value: tf.Tensor) -> Gathered:
    """Every device gets what each gives, of the same shape. Call it on all of them, in replica context.

    TensorFlow gathers in an order of its own: that of the hosts' names as text (0, 1, 10, 11, 2), and on a host that of
    the links between GPUs. So each device's number travels with its value.
    """
    context = tf.distribute.get_replica_context()
    numbers = context.all_gather(tf.reshape(context.replica_id_in_sync_group, [1]), axis=0)
    return Gathered(context.all_gather(value[None], axis=0), tf.argsort(numbers))
