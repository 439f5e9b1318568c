"""What a device could do at most: a step's multiplications and additions as products of large square matrices."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
from step_contenders import made_network, recipe_of, strategy_of
from step_task import StepTask

from resnet.devices import device_names
from resnet.model.network import ResNet

SIDE = 3072  # of a matrix: large enough that a longer one is not multiplied faster
FORWARD_AND_BACKWARD = 3  # the products of a forward pass, and as many for the gradients of inputs and of weights


class Ceiling:
    """Products of matrices and nothing else: no normalisation, no activation, no update."""

    def __init__(self, task: list[Any]):
        of = StepTask(*task)
        recipe = recipe_of(of, False)
        strategy = strategy_of(recipe)
        network = made_network(recipe, of.classes, strategy)
        operations = FORWARD_AND_BACKWARD * of.batch * forward_operations(network, of.size)
        self._products = operations / (2 * SIDE**3)  # of a step
        self._matrix = tf.cast(tf.random.Generator.from_seed(0).normal([SIDE, SIDE]), network.precision)
        work = f"{operations / of.batch / 1e9:.1f} billion operations an image"
        self.facts = {"versions": f"TensorFlow {tf.__version__}, {work}", "device": ", ".join(device_names(strategy))}

    def run(self, steps: int) -> dict[str, float]:
        for _ in range(max(1, round(steps * self._products))):
            product = tf.matmul(self._matrix, self._matrix)
        float(product[0, 0])  # waits for the device
        return {"loss": 0.0}


def forward_operations(network: ResNet, size: int) -> int:
    """Multiplications and additions in the convolutions and the classifier, for one image."""
    image = tf.TensorSpec([1, size, size, 3], tf.uint8)
    forward = tf.function(lambda images: network(images, training=True), autograph=False).get_concrete_function(image)
    count = 0
    for operation in forward.graph.get_operations():
        if operation.type in ("Conv2D", "MatMul"):
            *inputs, outputs = operation.inputs[1].shape  # of the kernel
            places = math.prod(operation.outputs[0].shape) // outputs
            count += 2 * places * math.prod(inputs) * outputs
    return count
