"""Which devices a step runs on, and how a batch gets there.

The recipe's batch consists of replicas, each with batch-norm statistics of its own (`training.replica_batch_size`
images). With as many devices as replicas, each device runs one; with fewer, each runs several. Batch and statistics
are the same, and with `training.deterministic` so is every bit of the sums: see `resnet.training.fixed_order`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.client.device_lib import list_local_devices  # the one place that says how much memory a GPU has
from tensorflow.python.distribute.collective_all_reduce_strategy import CollectiveAllReduceExtended
from tensorflow.python.eager import context

from resnet.errors import UserError
from resnet.hosts.cluster import ONE_HOST, Cluster, own_gpus
from resnet.run import Machine

logger = logging.getLogger(__name__)

REGISTER_SECONDS, HEARTBEAT_SECONDS = 60, 60  # of TensorFlow's own connections between hosts
ALIGNMENT = 64  # bytes: Eigen's, for AVX-512; kernels abort on less


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
    gpus = _gpus(machine, cluster)
    used = _sharing(len(gpus) or machine.cpu_devices, replicas, cluster.hosts)
    if gpus:
        tf.config.set_visible_devices(gpus[:used], "GPU")
    elif used > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * used)
    for gpu in gpus[:used]:
        tf.config.experimental.set_memory_growth(gpu, True)
    # TensorFlow would round float32 to TensorFloat-32 wherever a GPU has it.
    tf.config.experimental.enable_tensor_float_32_execution(precision == "tensorfloat32")
    if deterministic:  # no operation adds in another order each time: a resumed run repeats an uninterrupted one
        tf.config.experimental.enable_op_determinism()
    return _over(_devices()) if cluster.hosts == 1 else _over_hosts(cluster, 0 if gpus else used)


def devices_in_words(machine: Machine, cluster: Cluster) -> str:
    """What this host would train on: "4 x NVIDIA H100", before TensorFlow runs anything."""
    if gpus := _gpus(machine, cluster):
        names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
        return ", ".join(f"{names.count(name)} x {name}" for name in sorted(set(names)))
    return f"{machine.cpu_devices} x CPU"


def _gpus(machine: Machine, cluster: Cluster) -> list[tf.config.PhysicalDevice]:
    """This host's GPUs, as many as luigi.cfg asks for. Raises UserError where there are fewer."""
    found = tf.config.list_physical_devices("GPU")
    own = [found[number] for number in own_gpus(cluster, len(found), os.environ)]
    if machine.devices > len(own):
        raise UserError(f"devices asks for {machine.devices} GPUs, but TensorFlow finds {len(own)}")
    return own[: machine.devices or None]


def _sharing(available: int, replicas: int, hosts: int) -> int:
    """How many devices of each host share the replicas evenly: as many as can. Raises UserError where none can."""
    if replicas % hosts:
        raise UserError(
            f"{hosts} hosts cannot share the recipe's {replicas} replicas evenly: start a number of hosts that divides "
            f"{replicas}, or set training.batch_size and training.replica_batch_size to other values."
        )
    used = max(count for count in range(1, available + 1) if replicas % (hosts * count) == 0)
    if replicas > 1 and used < available:
        logger.warning(
            "only %d of %d devices%s are used: more cannot share the recipe's %d replicas evenly",
            used,
            available,
            " of each host" if hosts > 1 else "",
            replicas,
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


def _over_hosts(cluster: Cluster, cpu_devices: int) -> tf.distribute.Strategy:
    """A strategy over the visible GPUs of all hosts, or over so many logical CPU devices of each.

    The devices of a host are successive replicas, those of the chief the first.
    """
    os.environ["TF_CONFIG"] = cluster.tf_config  # Slurm's variables said it in other words
    # The meeting notices a lost host sooner (see `resnet.hosts.meeting`), and lets one be stopped for longer than
    # TensorFlow's 10 seconds. While TensorFlow waits for the others to register, no Python runs: by default for an hour.
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader="/job:worker/replica:0/task:0",
        cluster_register_timeout_in_ms=REGISTER_SECONDS * 1000,
        heartbeat_timeout_in_ms=HEARTBEAT_SECONDS * 1000,
        coordinated_jobs=[context.coordination_config_pb2.CoordinatedJob(name="worker", num_tasks=cluster.hosts)],
    )
    if cpu_devices > 1:
        return _CpusOfHosts(cpu_devices)
    return tf.distribute.MultiWorkerMirroredStrategy()


class _CpusOfHosts(tf.distribute.Strategy):
    """To try a cluster of GPUs without any: TensorFlow by itself takes one device of a host that has none."""

    _collective_key_base = 0  # as in MultiWorkerMirroredStrategy

    def __init__(self, count: int):
        super().__init__(_CpusExtended(count, self))


class _CpusExtended(CollectiveAllReduceExtended):
    def __init__(self, count: int, strategy: tf.distribute.Strategy):
        self._count = count
        options = tf.distribute.experimental.CommunicationOptions()
        super().__init__(strategy, tf.distribute.cluster_resolver.TFConfigClusterResolver(), options)

    def _initialize_local_devices(self, cluster_resolver: Any, worker_device: str) -> tuple[tuple[str, ...], str]:
        return tuple(f"{worker_device}/device:CPU:{number}" for number in range(self._count)), "CPU"


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


def gpu_memory() -> int:
    """The bytes that TensorFlow may use of the smallest GPU; 0 where there is none."""
    return min((device.memory_limit for device in list_local_devices() if device.device_type == "GPU"), default=0)


def peak_gpu_memory() -> int:
    """The most bytes that TensorFlow has had in use on one GPU so far; 0 where it does not say, or there is none."""
    try:
        peaks = [
            tf.config.experimental.get_memory_info(gpu.name)["peak"] for gpu in tf.config.list_logical_devices("GPU")
        ]
    except (ValueError, tf.errors.OpError):  # of devices that keep no account
        return 0
    return max(peaks, default=0)


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
