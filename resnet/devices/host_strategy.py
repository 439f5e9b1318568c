"""TensorFlow's strategy over several hosts, which all make it together."""

from __future__ import annotations

import os
from typing import Any

import tensorflow as tf
from tensorflow.python.distribute.collective_all_reduce_strategy import CollectiveAllReduceExtended
from tensorflow.python.eager import context

from resnet.hosts.cluster import Cluster

REGISTER_SECONDS = 60  # by default an hour, and no Python runs while TensorFlow waits for the others to register
HEARTBEAT_SECONDS = 60  # by default 10: the meeting notices a lost host sooner, and lets one be stopped for longer


def over_hosts(cluster: Cluster, cpu_devices: int) -> tf.distribute.Strategy:
    """A strategy over the visible GPUs of all hosts, or over so many logical CPU devices of each.

    The devices of a host are successive replicas, those of the chief the first.
    """
    os.environ["TF_CONFIG"] = cluster.tf_config  # Slurm's variables said it in other words
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader="/job:worker/replica:0/task:0",
        cluster_register_timeout_in_ms=REGISTER_SECONDS * 1000,
        heartbeat_timeout_in_ms=HEARTBEAT_SECONDS * 1000,
        coordinated_jobs=[context.coordination_config_pb2.CoordinatedJob(name="worker", num_tasks=cluster.hosts)],
    )
    return OverCpus(cpu_devices) if cpu_devices > 1 else tf.distribute.MultiWorkerMirroredStrategy()


class OverCpus(tf.distribute.Strategy):
    """To try a cluster of GPUs without any: TensorFlow by itself takes one device of a host that has none."""

    _collective_key_base = 0  # as in MultiWorkerMirroredStrategy

    def __init__(self, count: int):
        super().__init__(_Extended(count, self))


class _Extended(CollectiveAllReduceExtended):
    def __init__(self, count: int, strategy: tf.distribute.Strategy):
        self._count = count
        options = tf.distribute.experimental.CommunicationOptions()
        super().__init__(strategy, tf.distribute.cluster_resolver.TFConfigClusterResolver(), options)

    def _initialize_local_devices(self, cluster_resolver: Any, worker_device: str) -> tuple[tuple[str, ...], str]:
        return tuple(f"{worker_device}/device:CPU:{number}" for number in range(self._count)), "CPU"
