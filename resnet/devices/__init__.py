"""Which devices a step runs on, and how a batch gets there.

The recipe's batch consists of replicas, each with batch-norm statistics of its own (`training.replica_batch_size`
images). With as many devices as replicas, each device runs one; with fewer, each runs several. Batch and statistics
are the same, and with `training.deterministic` so is every bit of the sums: see `resnet.training.fixed_order`.
"""

from resnet.devices.description import (
    device_names,
    devices_in_words,
    gpu_memory,
    has_tensor_float_32,
    peak_gpu_memory,
)
from resnet.devices.placing import Gathered, deal, gathered, lend, share
from resnet.devices.strategy import make_strategy, shared_strategy

__all__ = [
    "Gathered",
    "deal",
    "device_names",
    "devices_in_words",
    "gathered",
    "gpu_memory",
    "has_tensor_float_32",
    "lend",
    "make_strategy",
    "peak_gpu_memory",
    "share",
    "shared_strategy",
]
