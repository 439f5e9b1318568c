"""BatchNormStatistics: the plain average of the batch statistics over some training batches, after training.

As the original ResNets did: the moving averages of training follow weights that are no longer there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import tensorflow as tf

from resnet.artifacts import Run
from resnet.loader.streams import training_images
from resnet.model.network import ResNet, network_of
from resnet.progress import Progress
from resnet.records.shards import ShardedRecords
from resnet.training.distribution import device_names, make_strategy
from resnet.training.schedule import Schedule
from resnet.weights import assign, read_tensors, values, write_tensors


def batchnorm(run: Run) -> None:
    """The stage: the trained weights again, with averaged statistics."""
    folder = run.stage_folder("batchnorm")
    with run.at_work("batchnorm") as begun:
        if begun is None:
            return
        records = ShardedRecords(run.records, "train")
        strategy = make_strategy(replace(run.machine, cpu_devices=1), groups=1)
        network = network_of(run.recipe, len(records.classes))
        trained = run.stage_folder("train") / "weights.safetensors"
        assign(network.named_variables(), read_tensors(trained)[0], trained)
        store(network, average_statistics(run, records, network))
        weights = folder / "weights.safetensors"
        write_tensors(weights, values(network.named_variables()), {"network": f"resnet{run.recipe.model.depth}"})
        run.finish(begun, [weights], devices=device_names(strategy), seeds={"training.seed": run.recipe.training.seed})


def average_statistics(run: Run, records: ShardedRecords, network: ResNet) -> list[np.ndarray]:
    """Mean and variance of each batch normalisation in turn, averaged over `batchnorm.batches` batches.

    The batches are those that would come next in training, and each is seen in its groups of
    `training.replica_batch_size` images, as in training.
    """
    training, batches = run.recipe.training, run.recipe.batchnorm.batches
    statistics_of = tf.function(lambda images: network(images, training=True)[1])
    sums: list[np.ndarray] = []
    first = Schedule(training, len(records)).steps
    with (
        training_images(run, records, first, first + batches) as loader,
        Progress("averaging statistics", batches, "batches") as progress,
    ):
        for batch in loader:
            for group in np.split(batch.images, training.groups):
                moments = [moment.numpy().astype(np.float64) for pair in statistics_of(group) for moment in pair]
                sums = [a + b for a, b in zip(sums, moments, strict=True)] if sums else moments
            progress.advance()
    return [total / (batches * training.groups) for total in sums]


def store(network: ResNet, statistics: list[np.ndarray]) -> None:
    """Put averaged statistics in the place of the moving ones."""
    stored = [variable for norm in network.norms for variable in (norm.mean, norm.variance)]
    for variable, value in zip(stored, statistics, strict=True):
        variable.assign(value.astype(np.float32))
