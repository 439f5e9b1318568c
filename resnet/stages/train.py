"""Train: records to trained weights, resumed from the newest checkpoint where there is one."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from resnet.devices import device_names, gpu_memory, make_strategy, peak_gpu_memory
from resnet.inference import Predictor
from resnet.ledger import Attempt
from resnet.loader.batches import training_batches
from resnet.loader.loader import Loader
from resnet.model.network import ResNet, network_of
from resnet.records.shards import ShardedRecords
from resnet.run import Run
from resnet.settings import Model, Training
from resnet.training.checkpoints import Checkpoints
from resnet.training.interruption import Interruption
from resnet.training.log import TrainingLog
from resnet.training.loop import TrainingLoop
from resnet.training.micro_batch import replicas_at_once
from resnet.training.page_locking import page_locked
from resnet.training.schedule import Schedule
from resnet.training.start import in_order, take_layers
from resnet.training.step import TrainStep
from resnet.training.validation import Validation
from resnet.weights.safetensors_files import write_weights
from resnet.weights.sources import read_source, require_settings


def main(run: Run, attempt: Attempt) -> None:
    """Build the pieces, train, and write the weights."""
    attempt.begin()
    settings = run.recipe.training
    records = ShardedRecords(run.records, "train")
    strategy, network, step = build(run, len(records.classes))
    schedule = Schedule(settings, len(records))
    checkpoints = Checkpoints(attempt.folder / "checkpoints", network, step.state)
    first = checkpoints.restore_newest()
    checkpoints.require_space(first, schedule)
    print(opening_line(network, step, settings, len(records), device_names(strategy), first), flush=True)
    if not first:
        checkpoints.started_from = start(attempt, run.recipe.model, network, records.classes)
    with (
        TrainingLog(attempt.folder, first) as log,
        Interruption() as interruption,
        batches_between(first, schedule.steps, run, records, checkpoints.corrupt, interruption) as batches,
        page_locked_for_gpus(batches.memory),
        Validation(run, Predictor(network, strategy), interruption) as validation,
    ):
        checkpoints.corrupt = batches.corrupt  # a list that grows
        loop = TrainingLoop(settings, schedule, step, validation, checkpoints, log, interruption, first)
        loop.run(iter(batches), on_epoch=attempt.on_news)
    weights = write_weights(attempt.folder / "weights.safetensors", network, records.classes)
    logs = [log.path] if log.path.exists() else []  # a full disk may have had no room for it
    facts: dict[str, Any] = {"started_from": checkpoints.started_from} if checkpoints.started_from else {}
    facts |= {"devices": device_names(strategy), "seeds": {"training.seed": settings.seed}}
    facts |= {"corrupt_records": batches.corrupt, "parameters": network.parameters}
    attempt.finish([weights], byproducts=logs, gpu_memory=peak_gpu_memory(), **facts)


def build(run: Run, classes: int) -> tuple[tf.distribute.Strategy, ResNet, TrainStep]:
    """The recipe's network and its training step, on this machine's devices."""
    training = run.recipe.training
    strategy = make_strategy(
        run.machine, training.replicas, precision=training.precision, deterministic=training.deterministic
    )
    with strategy.scope():
        network = network_of(run.recipe, classes)
        devices, wanted = strategy.num_replicas_in_sync, run.machine.replicas_at_once
        at_once = replicas_at_once(network, run.recipe.model.image_size, training, devices, gpu_memory(), wanted)
        return strategy, network, TrainStep(network, strategy, training, at_once)


def batches_between(
    first: int, last: int, run: Run, records: ShardedRecords, corrupt: Sequence[str], interruption: Interruption
) -> Loader:
    """The batches of these steps; the stream ends early when an interruption is requested."""
    workers = run.machine.workers
    return training_batches(run.recipe, records, workers, first, last, corrupt, lambda: interruption.requested)


def page_locked_for_gpus(memory: np.ndarray) -> contextlib.AbstractContextManager:
    """Lock the loader's memory where there are GPUs, which copy from it by themselves."""
    return page_locked(memory) if tf.config.list_logical_devices("GPU") else contextlib.nullcontext()


def start(attempt: Attempt, model: Model, network: ResNet, classes: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Take the layers of the trained weights, and say so; returns the facts for stage.json, none where the weights are
    random. Raises UserError."""
    if not (point := attempt.ledger.starting_point):
        return {}
    source = read_source(point.file)
    point.require_same(source.sha256, attempt.begun)
    require_settings(source, model)
    started = take_layers(source, network, classes)
    lines = [f"starting from {point} ({source.layout})", f"taken: {', '.join(started.taken)}"]
    lines.append(f"classifier: {'new' if started.new else 'taken'}, {started.reason}")
    for line in lines:
        print(textwrap.fill(f"train: {line}", 80, subsequent_indent="       "), flush=True)
    place = {"run": point.run} if point.run else {"file": str(point.file)}
    return place | {"sha256": source.sha256, "layout": source.layout, "taken": started.taken, "new": started.new}


def opening_line(
    network: ResNet, step: TrainStep, settings: Training, images: int, devices: list[str], first: int
) -> str:
    """What is about to be trained, on what, and from which step on."""
    size, replicas = settings.replica_batch_size, settings.replicas
    batch = f"{replicas} x {size}" if replicas > 1 else str(size)
    epochs = "1 epoch" if settings.epochs == 1 else f"{settings.epochs} epochs"
    where = f"{len(devices)} x {devices[0]}" if len(devices) > 1 else devices[0]
    lines = [
        f"ResNet-{network.depth}, {network.parameters:,} weights; {images:,} images, {epochs}",
        ", ".join([f"{batch} images per step on {where}", *ways(settings, step)]),
    ]
    if network.frozen:
        lines.append(f"frozen: {', '.join(in_order(network.frozen))}")
    if unreached := [str(epoch) for epoch in settings.drop_epochs if epoch >= settings.epochs]:
        epochs_named = f"{'epoch' if len(unreached) == 1 else 'epochs'} {', '.join(unreached)}"
        lines.append(f"training ends before the learning rate drops after {epochs_named}")
    if first:
        lines.append(f"resuming from step {first:,}")
    return "\n".join(f"train: {line}" for line in lines)


def ways(settings: Training, step: TrainStep) -> list[str]:
    """What is unusual about how the step computes, a few words each."""
    found = {
        settings.precision: settings.precision != "float32",
        f"{step.replicas_at_once} replicas in one pass": step.replicas_at_once > 1,
        "compiled by XLA": settings.xla,
        "not deterministic": not settings.deterministic,
    }
    return [words for words, is_so in found.items() if is_so]
