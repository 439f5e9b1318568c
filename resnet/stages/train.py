"""Train: records to trained weights, resumed from the newest checkpoint where there is one."""

from __future__ import annotations

import contextlib
import math

import tensorflow as tf

from resnet.devices import device_names, make_strategy
from resnet.inference import Predictor
from resnet.ledger import Attempt
from resnet.loader.batches import training_batches
from resnet.model.network import ResNet, network_of
from resnet.progress import Progress
from resnet.records.shards import ShardedRecords
from resnet.run import Run
from resnet.settings import Training
from resnet.training.checkpoints import Checkpoints
from resnet.training.interruption import Interruption
from resnet.training.log import TrainingLog
from resnet.training.loop import Parts, TrainingLoop
from resnet.training.pinning import page_locked
from resnet.training.schedule import Schedule
from resnet.training.step import TrainStep
from resnet.training.validation import Validation
from resnet.weights.files import write_weights


def main(run: Run, attempt: Attempt) -> None:
    """Build the pieces, train, and write the weights."""
    attempt.begin()
    recipe, settings, workers = run.recipe, run.recipe.training, run.machine.workers
    records, unseen = ShardedRecords(run.records, "train"), ShardedRecords(run.records, "validation")
    strategy = make_strategy(run.machine, settings.replicas)
    with strategy.scope():
        network = network_of(recipe, len(records.classes))
        step = TrainStep(network, strategy, settings)
    schedule = Schedule(settings, len(records))
    checkpoints = Checkpoints(attempt.folder / "checkpoints", network, step.momentum)
    first = checkpoints.restore_newest()
    print(opening_line(network, settings, len(records), device_names(strategy), first), flush=True)
    log = TrainingLog(attempt.folder, first)
    with (
        training_batches(recipe, records, workers, first, schedule.steps) as batches,
        page_locked(batches.memory) if tf.config.list_logical_devices("GPU") else contextlib.nullcontext(),
        Validation(recipe, unseen, workers, Predictor(network, strategy)) as validate,
        Interruption() as interruption,
        Progress("training", schedule.steps, "steps", done=first, lines=False) as progress,
    ):
        parts = Parts(settings, schedule, step, validate, checkpoints, log)
        TrainingLoop(parts, first, interruption, progress).run(iter(batches))
    log.close()
    weights = write_weights(attempt.folder / "weights.safetensors", network)
    devices, seeds = device_names(strategy), {"training.seed": settings.seed}
    attempt.finish([weights], byproducts=[log.path], devices=devices, seeds=seeds, corrupt_records=batches.corrupt)


def opening_line(network: ResNet, settings: Training, images: int, devices: list[str], first: int) -> str:
    """What is about to be trained, on what, and from which step on."""
    weights = sum(math.prod(variable.shape) for variable in network.trainable_variables)
    size, replicas = settings.replica_batch_size, settings.replicas
    batch = f"{replicas} x {size}" if replicas > 1 else str(size)
    epochs = "1 epoch" if settings.epochs == 1 else f"{settings.epochs} epochs"
    where = f"{len(devices)} x {devices[0]}" if len(devices) > 1 else devices[0]
    lines = [
        f"ResNet-{network.depth}, {weights:,} weights; {images:,} images, {epochs}",
        f"{batch} images per step on {where}",
    ]
    if first:
        lines.append(f"resuming from step {first:,}")
    return "\n".join(f"train: {line}" for line in lines)
