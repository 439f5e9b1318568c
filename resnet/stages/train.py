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
from resnet.records.shards import ShardedRecords
from resnet.run import Run
from resnet.settings import Training
from resnet.training.checkpoints import Checkpoints
from resnet.training.interruption import Interruption
from resnet.training.log import TrainingLog
from resnet.training.loop import TrainingLoop
from resnet.training.page_locking import page_locked
from resnet.training.schedule import Schedule
from resnet.training.step import TrainStep
from resnet.training.validation import Validation
from resnet.weights.safetensors_files import write_weights


def main(run: Run, attempt: Attempt) -> None:
    """Build the pieces, train, and write the weights."""
    attempt.begin()
    settings = run.recipe.training
    records = ShardedRecords(run.records, "train")
    strategy, network, step = build(run, len(records.classes))
    schedule = Schedule(settings, len(records))
    checkpoints = Checkpoints(attempt.folder / "checkpoints", network, step.optimizer.state)
    first = checkpoints.restore_newest()
    checkpoints.require_space(first, schedule)
    print(opening_line(network, settings, len(records), device_names(strategy), first), flush=True)
    with (
        TrainingLog(attempt.folder, first) as log,
        Interruption() as interruption,
        training_batches(
            run.recipe,
            records,
            run.machine.workers,
            first,
            schedule.steps,
            checkpoints.corrupt,
            lambda: interruption.requested,
        ) as batches,
        page_locked(batches.memory) if tf.config.list_logical_devices("GPU") else contextlib.nullcontext(),
        Validation(run, Predictor(network, strategy), interruption) as validation,
    ):
        checkpoints.corrupt = batches.corrupt  # a list that grows
        TrainingLoop(settings, schedule, step, validation, checkpoints, log, interruption, first).run(iter(batches))
    weights = write_weights(attempt.folder / "weights.safetensors", network, records.classes)
    logs = [log.path] if log.path.exists() else []  # a full disk may have had no room for it
    devices, seeds = device_names(strategy), {"training.seed": settings.seed}
    attempt.finish([weights], byproducts=logs, devices=devices, seeds=seeds, corrupt_records=batches.corrupt)


def build(run: Run, classes: int) -> tuple[tf.distribute.Strategy, ResNet, TrainStep]:
    """The recipe's network and its training step, on this machine's devices."""
    strategy = make_strategy(run.machine, run.recipe.training.replicas)
    with strategy.scope():
        network = network_of(run.recipe, classes)
        return strategy, network, TrainStep(network, strategy, run.recipe.training)


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
