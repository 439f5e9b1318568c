"""Batch-norm statistics for inference: the plain average of the batch statistics over some training batches.

As for the original ResNets: the moving averages of training lag behind the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from resnet.loader.batches import training_batches
from resnet.loader.mixing import Mixer
from resnet.model.layers import Statistics
from resnet.model.network import ResNet
from resnet.progress import Progress
from resnet.records.shards import ShardedRecords
from resnet.run import Run
from resnet.training.mixing import mixed_images
from resnet.training.schedule import Schedule


def averaged_statistics(
    run: Run, records: ShardedRecords, network: ResNet, counts: Sequence[int], corrupt: Sequence[str] = ()
) -> Iterator[list[np.ndarray]]:
    """Mean and variance of each batch normalisation in turn, averaged over so many batches: for each of the `counts`,
    which rise. float64 [channels] each.

    The batches are those that would come next in training. Each is seen in replicas of `training.replica_batch_size`
    images, and mixed, as in training. `corrupt`: the records that training found to be so.
    """
    training, batches, mixer = run.recipe.training, counts[-1], Mixer.of(run.recipe)

    @tf.function(autograph=False)
    def statistics_of(images: tf.Tensor, mixes: tf.Tensor | None) -> Statistics:
        return network(images if mixes is None else mixed_images(images, mixes), training=True)[1]

    sums: list[np.ndarray] = []
    first = Schedule(training, len(records)).steps
    with (
        training_batches(run.recipe, records, run.machine.workers, first, first + batches, corrupt) as loader,
        Progress("averaging statistics", batches, "batches") as progress,
    ):
        for done, batch in enumerate(loader, start=1):
            mixes = mixer(batch.step, batch.images.shape[1]) if mixer else None
            for number, images in enumerate(np.split(batch.images, training.replicas)):
                of_replica = None if mixes is None else mixes[number : number + 1]
                pairs = statistics_of(images, of_replica)
                moments = [moment.numpy().astype(np.float64) for pair in pairs for moment in pair]
                sums = [a + b for a, b in zip(sums, moments, strict=True)] if sums else moments
            progress.advance()
            if done in counts:
                yield [total / (done * training.replicas) for total in sums]


def store(network: ResNet, statistics: Sequence[np.ndarray]) -> None:
    """Replace the moving statistics by averaged ones."""
    stored = [variable for norm in network.norms for variable in (norm.mean, norm.variance)]
    for variable, value in zip(stored, statistics, strict=True):
        variable.assign(value.astype(np.float32))
