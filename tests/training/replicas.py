"""test_replicas runs this in a separate process: the CPU can be split into devices only before TensorFlow starts.

python replicas.py DEVICES FILE: write the gradients of a batch, and the weights after some steps, to FILE (.npz).
"""

import sys

import numpy as np
import tensorflow as tf

from resnet.loader.mixing import Mixer
from resnet.model.network import ResNet
from resnet.settings import Training
from resnet.training.step import TrainStep

REPLICAS, REPLICA_SIZE, STEPS = 12, 4, 2
FEW = 4  # replicas, so that each of four devices has one
WAYS = {  # by devices
    1: ("fixed", "together", "half", "lamb"),
    2: ("fixed", "free", "half", "compiled"),
    3: ("fixed",),
    4: ("fixed", "lamb"),
}
OTHER = {"optimizer": "lamb", "decay_kind": "lamb", "clip_norm": 1.0, "label_smoothing": 0.1, "average": 0.9}
MIXER = Mixer(0.4, 1.0, seed=0, replicas=FEW)
OVERFLOWING = 2.0**40  # a loss scale at which gradients overflow in float16


def main(count: int, path: str) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    tf.config.experimental.enable_op_determinism()
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    strategy = tf.distribute.MirroredStrategy(devices) if count > 1 else tf.distribute.OneDeviceStrategy(devices[0])
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (REPLICAS * REPLICA_SIZE, 16, 16, 3), np.uint8)
    labels = random.integers(0, 10, REPLICAS * REPLICA_SIZE).astype(np.int32)
    results = one_by_one(images, labels) if count == 1 else {}
    for way in WAYS[count]:
        count = FEW * REPLICA_SIZE if way in ("half", "lamb") else len(images)
        found = trained(strategy, images[:count], labels[:count], way)
        results |= {f"{way}/{key}": value for key, value in found.items()}
    np.savez(path, **results)


def trained(
    strategy: tf.distribute.Strategy, images: np.ndarray, labels: np.ndarray, way: str
) -> dict[str, np.ndarray]:
    """Metrics, weights and momentum after some steps on a batch; also the first gradients, where their order is free.

    In float16, the first of the steps overflows.
    """
    training = Training(
        batch_size=len(images),
        replica_batch_size=REPLICA_SIZE,
        learning_rate=0.01,
        deterministic=way not in ("free", "together"),
        precision="float16" if way == "half" else "float32",
        xla=way == "compiled",
        **(OTHER if way == "lamb" else {}),
    )
    with strategy.scope():
        network = ResNet(8, 10, precision=training.precision)
        at_once, mixer = 4 if way == "together" else 1, MIXER if way == "lamb" else None
        step = TrainStep(network, strategy, training, at_once, mixer=mixer)
        if way == "half":
            step.state["loss_scale/scale"].assign(OVERFLOWING)
    results = {}
    if not training.deterministic:
        gradients, _ = step.gradients(images, labels)
        for variable, gradient in zip(network.trainable_variables, gradients, strict=True):
            results[f"gradient/{variable.name}"] = gradient
    for number in range(STEPS):
        results[f"metrics/{number}"] = step(images, labels, training.learning_rate, number).numpy()
    for name, variable in (network.named_variables() | step.state).items():
        copies = [copy.numpy() for copy in strategy.experimental_local_results(variable)]
        assert all(np.array_equal(copies[0], copy) for copy in copies), f"{name} differs between devices"
        results[f"variable/{name}"] = copies[0]
    return results


def one_by_one(images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """The definition: one replica at a time, each with its batch-norm statistics, then the average."""
    network = ResNet(8, 10)

    @tf.function(autograph=False)
    def gradients(images: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            logits, _ = network(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        return tape.gradient(loss, network.trainable_variables)

    sums: dict[str, np.ndarray] = {}
    for replica in range(REPLICAS):
        rows = slice(replica * REPLICA_SIZE, (replica + 1) * REPLICA_SIZE)
        found = gradients(tf.constant(images[rows]), tf.constant(labels[rows]))
        for variable, gradient in zip(network.trainable_variables, found, strict=True):
            name = f"plain/gradient/{variable.name}"
            sums[name] = sums.get(name, 0) + gradient.numpy().astype(np.float64) / REPLICAS
    return sums


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
