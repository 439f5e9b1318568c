"""BatchNormStatistics: the plain average of the batch statistics over some training batches, after training.

As for the original ResNets: the moving averages of training lag behind the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import tensorflow as tf

from resnet.devices import device_names, make_strategy, peak_gpu_memory
from resnet.ledger import Attempt
from resnet.loader.batches import training_batches
from resnet.model.network import ResNet, network_of
from resnet.progress import Progress
from resnet.records.shards import ShardedRecords
from resnet.run import Run
from resnet.training.schedule import Schedule
from resnet.weights.safetensors_files import load_weights, write_weights


def main(run: Run, attempt: Attempt) -> None:
    """Write the trained weights again, with averaged statistics."""
    attempt.begin()
    records = ShardedRecords(run.records, "train")
    strategy = make_strategy(replace(run.machine, cpu_devices=1), replicas=1)
    network = network_of(run.recipe, len(records.classes))
    load_weights(run.stage_folder("train") / "weights.safetensors", network)
    corrupt = attempt.ledger.finished("train").get("corrupt_records", [])
    store(network, average_statistics(run, records, network, corrupt))
    weights = write_weights(attempt.folder / "weights.safetensors", network, records.classes)
    seeds = {"training.seed": run.recipe.training.seed}
    attempt.finish([weights], gpu_memory=peak_gpu_memory(), devices=device_names(strategy), seeds=seeds)


def average_statistics(
    run: Run, records: ShardedRecords, network: ResNet, corrupt: Sequence[str] = ()
) -> list[np.ndarray]:
    """Mean and variance of each batch normalisation in turn, averaged over `batchnorm.batches` batches.

    The batches are those that would come next in training. Each is seen in replicas of `training.replica_batch_size`
    images, as in training. `corrupt`: the records that training found to be so.
    """
    training, batches = run.recipe.training, run.recipe.batchnorm.batches
    statistics_of = tf.function(lambda images: network(images, training=True)[1], autograph=False)
    sums: list[np.ndarray] = []
    first = Schedule(training, len(records)).steps
    with (
        training_batches(run.recipe, records, run.machine.workers, first, first + batches, corrupt) as loader,
        Progress("averaging statistics", batches, "batches") as progress,
    ):
        for batch in loader:
            for replica in np.split(batch.images, training.replicas):
                moments = [moment.numpy().astype(np.float64) for pair in statistics_of(replica) for moment in pair]
                sums = [a + b for a, b in zip(sums, moments, strict=True)] if sums else moments
            progress.advance()
    return [total / (batches * training.replicas) for total in sums]


def store(network: ResNet, statistics: list[np.ndarray]) -> None:
    """Replace the moving statistics by averaged ones."""
    stored = [variable for norm in network.norms for variable in (norm.mean, norm.variance)]
    for variable, value in zip(stored, statistics, strict=True):
        variable.assign(value.astype(np.float32))
