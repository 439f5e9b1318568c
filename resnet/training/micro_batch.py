"""How many of the recipe's replicas a device runs in one pass.

One after the other is what a small memory needs. A large GPU is not busy with 64 images; several replicas in one pass
keep it so, and each still has batch-norm statistics of its own. The numbers are the same up to rounding, so a training
that must repeat itself to the bit runs one at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

from resnet.errors import UserError
from resnet.model.network import ResNet
from resnet.settings import Training

USABLE = 0.8  # of a GPU's memory: the rest is for gradients, the kernels' workspace and what is not contiguous


def replicas_at_once(
    network: ResNet, image_size: int, training: Training, devices: int, memory: Callable[[], int], wanted: int = 0
) -> int:
    """How many of its replicas each of the `devices` runs in one pass.

    `memory`: gives the bytes of a GPU, 0 for CPUs, which gain nothing by it. `wanted`: what the user asks for, 0:
    whatever the memory holds. Raises UserError for what cannot be.
    """
    replicas = training.replicas // devices
    possible = [count for count in range(1, replicas + 1) if replicas % count == 0]
    if wanted > 1 and training.deterministic:
        raise UserError(
            f"replicas_at_once = {wanted} in luigi.cfg needs training.deterministic=false: in one pass, replicas are "
            "added up in another order."
        )
    if wanted and wanted not in possible:
        raise UserError(
            f"replicas_at_once = {wanted} in luigi.cfg does not divide the {replicas} replicas of a device: "
            f"set {', '.join(map(str, possible))} or 0."
        )
    if wanted or training.deterministic or replicas == 1 or not (available := memory()):
        return wanted or 1
    room = USABLE * available - bytes_of_state(network, training)
    of_replica = training.replica_batch_size * bytes_of_image(network, image_size)
    return max((count for count in possible if count * of_replica <= room), default=1)


def bytes_of_state(network: ResNet, training: Training) -> int:
    """Weights, gradients, what the optimizer remembers of each weight, and their average."""
    copies = 2 + (2 if training.optimizer == "lamb" else 1) + (1 if training.average else 0)
    return copies * 4 * network.parameters


def bytes_of_image(network: ResNet, image_size: int) -> int:
    """What the forward pass of one image leaves for the backward pass: the results of all its operations."""
    two = tf.TensorSpec([2, image_size, image_size, 3], tf.uint8)  # kernels of 1x1 look like results for one image
    forward = tf.function(lambda images: network(images, training=True), autograph=False).get_concrete_function(two)
    results = [result for operation in forward.graph.get_operations() for result in operation.outputs]
    of_images = (result for result in results if result.dtype.is_floating and result.shape[:1] == [2])
    return sum(math.prod(result.shape) * result.dtype.size for result in of_images) // 2
