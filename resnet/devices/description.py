"""What the devices are, for people and for decisions."""

from __future__ import annotations

import ctypes
import logging
import os

import tensorflow as tf

from resnet.devices.cuda_driver import call
from resnet.devices.strategy import gpus_of_host
from resnet.hosts.cluster import Cluster
from resnet.run import Machine

logger = logging.getLogger(__name__)


def device_names(strategy: tf.distribute.Strategy) -> list[str]:
    """What this host's devices are, for people: "NVIDIA TITAN Xp" or "CPU (2 cores)", one a device."""
    names = []
    gpus = tf.config.get_visible_devices("GPU")
    for device in strategy.extended.worker_devices:
        spec = tf.DeviceSpec.from_string(device)
        if spec.device_type == "GPU":
            names.append(tf.config.experimental.get_device_details(gpus[spec.device_index]).get("device_name", "GPU"))
        else:
            names.append(f"CPU ({len(os.sched_getaffinity(0))} cores)")
    return names


def devices_in_words(machine: Machine, cluster: Cluster) -> str:
    """What this host would train on: "4 x NVIDIA H100", before TensorFlow runs anything."""
    if gpus := gpus_of_host(machine, cluster):
        names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
        return ", ".join(f"{names.count(name)} x {name}" for name in sorted(set(names)))
    return f"{machine.cpu_devices} x CPU"


def gpu_memory() -> int:
    """The bytes that the smallest visible GPU has; 0 where there is none.

    The driver says it. TensorFlow's own list of devices would start every GPU of the machine, also those of others.
    """
    if not (gpus := tf.config.get_visible_devices("GPU")):
        return 0
    try:
        driver, sizes = ctypes.CDLL("libcuda.so.1"), []
    except OSError as error:
        logger.warning("the memory of the GPUs is not known (%s): each runs one replica at a time", error)
        return 0
    call(driver, "cuInit", ctypes.c_uint(0))
    for gpu in gpus:
        device, size = ctypes.c_int(), ctypes.c_size_t()
        call(driver, "cuDeviceGet", ctypes.byref(device), ctypes.c_int(int(gpu.name.rpartition(":")[2])))
        call(driver, "cuDeviceTotalMem_v2", ctypes.byref(size), device)
        sizes.append(size.value)
    return min(sizes)


def has_tensor_float_32() -> bool:
    """Whether a visible GPU computes in TensorFloat-32: NVIDIA's do from Ampere on."""
    capabilities = [
        tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
        for gpu in tf.config.get_visible_devices("GPU")
    ]
    return any(capability >= (8, 0) for capability in capabilities)


def peak_gpu_memory() -> int:
    """The most bytes that TensorFlow has had in use on one GPU so far; 0 where it does not say, or there is none."""
    try:
        peaks = [
            tf.config.experimental.get_memory_info(gpu.name)["peak"] for gpu in tf.config.list_logical_devices("GPU")
        ]
    except (ValueError, tf.errors.OpError):  # of devices that keep no account
        return 0
    return max(peaks, default=0)
