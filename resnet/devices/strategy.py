"""The strategy that a step runs under: one device, the devices of this host, or those of several."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import tensorflow as tf

from resnet.errors import UserError
from resnet.hosts.cluster import ONE_HOST, Cluster, own_gpus
from resnet.run import Machine

logger = logging.getLogger(__name__)

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")  # there while it is loaded


def make_strategy(
    machine: Machine,
    replicas: int = 0,
    *,
    precision: str = "float32",
    deterministic: bool = True,
    cluster: Cluster = ONE_HOST,
) -> tf.distribute.Strategy:
    """A strategy over the GPUs, or over the CPU where there is none, for a stage, which has the process to itself.

    Call it before TensorFlow runs anything. `replicas`: what the devices of all hosts must share evenly; 0: they need
    not. `precision` and `deterministic`: see `settings.Training`. Hosts of a cluster call it together.
    """
    gpus = gpus_of_host(machine, cluster)
    used = sharing(len(gpus) or machine.cpu_devices, replicas, cluster.hosts)
    if gpus:
        _use_gpus(gpus[:used])
    else:
        _use_cpu(used)
    # TensorFlow would round float32 to TensorFloat-32 wherever a GPU has it.
    tf.config.experimental.enable_tensor_float_32_execution(precision == "tensorfloat32")
    if deterministic:  # no operation adds in another order each time: a resumed run repeats an uninterrupted one
        tf.config.experimental.enable_op_determinism()
    if cluster.hosts == 1:
        return _over(_devices())
    from resnet.devices.host_strategy import over_hosts  # private parts of TensorFlow, which others do not need

    return over_hosts(cluster, cpu_devices=0 if gpus else used)


def _use_gpus(gpus: list[tf.config.PhysicalDevice]) -> None:
    tf.config.set_visible_devices(gpus, "GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)


def _use_cpu(devices: int) -> None:
    """Split it into devices. Say so where there seem to be GPUs, unless the user has hidden them."""
    if devices > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
    is_hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    if is_hidden or not NVIDIA_DRIVER.exists():
        return
    why = (
        "TF_CPP_MIN_LOG_LEVEL=0 shows why"
        if tf.test.is_built_with_cuda()
        else "the package that is installed is the one for CPUs: make install EXTRA=gpu"
    )
    logger.warning("NVIDIA's driver is loaded, but TensorFlow finds no GPU and uses the CPU; %s", why)


def gpus_of_host(machine: Machine, cluster: Cluster) -> list[tf.config.PhysicalDevice]:
    """This host's GPUs, as many as luigi.cfg asks for. Raises UserError where there are fewer."""
    found = tf.config.list_physical_devices("GPU")
    own = [found[number] for number in own_gpus(cluster, len(found), os.environ)]
    if machine.devices > len(own):
        raise UserError(f"devices asks for {machine.devices} GPUs, but TensorFlow finds {len(own)}")
    return own[: machine.devices or None]


def sharing(available: int, replicas: int, hosts: int) -> int:
    """How many devices of each host share the replicas evenly: as many as can. The hosts themselves must."""
    used = max(count for count in range(1, available + 1) if replicas % (hosts * count) == 0)
    if used < available:
        logger.warning(
            "only %d of %d devices%s used: more cannot share the recipe's %d replica%s (training.batch_size / "
            "training.replica_batch_size) evenly",
            used,
            available,
            f"{' of each host' if hosts > 1 else ''} {'is' if used == 1 else 'are'}",
            replicas,
            "" if replicas == 1 else "s",
        )
    return used


def shared_strategy() -> tf.distribute.Strategy:
    """A strategy over the same devices, in a process that may use TensorFlow for other work too.

    So no setting changes under that work, and it may have begun. (With deterministic operations, for one, TensorFlow
    draws no random numbers without a seed.)
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except (RuntimeError, ValueError):  # TensorFlow runs already, or the caller has divided the GPU
            pass
    return _over(_devices())


def _devices() -> list[str]:
    """The names of the GPUs, or else of the CPU's devices."""
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in found]


def _over(devices: list[str]) -> tf.distribute.Strategy:
    return tf.distribute.OneDeviceStrategy(devices[0]) if len(devices) == 1 else tf.distribute.MirroredStrategy(devices)
