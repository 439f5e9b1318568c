"""Train: from records to trained weights, resumed from the newest checkpoint where there is one."""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import tensorflow as tf

from resnet.artifacts import Run
from resnet.errors import UserError
from resnet.evaluation import Predictor, score_round
from resnet.loader.loader import Batch, Loader
from resnet.loader.streams import training_images, validation_images
from resnet.model.network import ResNet, network_of
from resnet.progress import Progress
from resnet.records.shards import ShardedRecords
from resnet.training.checkpoints import Checkpoints
from resnet.training.distribution import device_names, make_strategy
from resnet.training.log import TrainingLog
from resnet.training.pinning import page_locked
from resnet.training.schedule import Schedule
from resnet.training.step import METRICS, TrainStep
from resnet.weights import values, write_tensors


def train(run: Run) -> None:
    """The stage: a run's records to trained weights, from the newest checkpoint where there is one."""
    folder, settings = run.stage_folder("train"), run.recipe.training
    with run.at_work("train") as begun:
        if begun is None:
            return
        records = ShardedRecords(run.records, "train")
        strategy = make_strategy(run.machine, settings.groups)
        with strategy.scope():
            network = network_of(run.recipe, len(records.classes))
            step = TrainStep(network, strategy, settings)
        checkpoints = Checkpoints(folder / "checkpoints", network, step.momentum)
        first = checkpoints.restore_newest()
        print(_what(run, network, strategy, len(records), first), flush=True)
        log, damaged = _loop(run, records, network, step, Predictor(network, strategy), checkpoints, first)
        weights = folder / "weights.safetensors"
        write_tensors(weights, values(network.named_variables()), {"network": f"resnet{run.recipe.model.depth}"})
        devices = device_names(strategy)
        run.finish(
            begun,
            [weights],
            byproducts=[log],
            devices=devices,
            seeds={"training.seed": settings.seed},
            damaged_records=damaged,
        )


def _loop(
    run: Run,
    records: ShardedRecords,
    network: ResNet,
    step: TrainStep,
    predictor: Predictor,
    checkpoints: Checkpoints,
    first: int,
) -> tuple[Path, list[str]]:
    """Train from step `first` to the end; returns the log's path, and the damaged records that were met."""
    settings = run.recipe.training
    schedule = Schedule(settings, len(records))
    log = TrainingLog(run.stage_folder("train"), first)
    meter = _Meter(log, settings.batch_size, len(records), first)
    validation = ShardedRecords(run.records, "validation")
    interrupted = _Interrupted()
    with (
        training_images(run, records, first, schedule.steps) as loader,
        page_locked(loader.memory) if tf.config.list_logical_devices("GPU") else contextlib.nullcontext(),
        validation_images(run, validation, rounds=settings.epochs) as validation_loader,
        Progress("training", schedule.steps, "steps", done=first) as progress,
    ):
        validation_batches = iter(validation_loader)  # one loader for all epochs: starting workers takes a second

        def validate(done: int, note: str) -> None:
            metrics = score_round(run, validation, validation_batches, predictor)
            meter.write_validation(done, metrics)
            progress.say(_epoch_line(schedule.epoch(done), settings.epochs, note, metrics))

        if first and schedule.ends_epoch(first - 1) and not log.is_validated:
            validate(first, "trained before the interruption")
        for batch in meter.timed(_or_save(loader, checkpoints, first)):
            rate = schedule.learning_rate(batch.step)
            meter.add(step(batch.images, batch.labels, rate))
            done, ends_epoch = batch.step + 1, schedule.ends_epoch(batch.step)
            note = meter.write(done, rate) if done % schedule.log_steps == 0 or ends_epoch else ""
            progress.advance(note=note)
            if ends_epoch and not interrupted.asked:  # else it is validated first thing when training goes on
                validate(done, note)
            keep = ends_epoch and schedule.epoch(done) in settings.keep_epochs
            if done % settings.checkpoint_steps == 0 or keep or interrupted.asked or done == schedule.steps:
                log.sync()
                checkpoints.save(done, keep=keep)
            if interrupted.asked:
                raise KeyboardInterrupt
    log.close()
    return log.path, loader.damaged


def _or_save(loader: Loader, checkpoints: Checkpoints, first: int) -> Iterator[Batch]:
    """The loader's batches; where it fails to bring the next, a checkpoint of all steps before, then its error."""
    batches, done = iter(loader), first
    while True:
        try:
            batch = next(batches, None)
        except Exception:
            if done not in {0, *checkpoints.steps()}:
                checkpoints.save(done)
            raise
        if batch is None:
            return
        yield batch
        done = batch.step + 1


class _Meter:
    """Averages the metrics between two lines of the log, and times steps and waits for data."""

    def __init__(self, log: TrainingLog, batch_size: int, images: int, first: int):
        self._log, self._batch_size, self._images = log, batch_size, images
        self._before = log.seconds_before - time.monotonic()
        self._step = first
        self._restart()

    def _restart(self) -> None:
        self._metrics: list[tf.Tensor] = []
        self._start, self._waited = time.monotonic(), 0.0

    def timed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches, counting how long they are waited for."""
        while True:
            start = time.monotonic()
            batch = next(batches, None)
            self._waited += time.monotonic() - start
            if batch is None:
                return
            yield batch

    def add(self, metrics: tf.Tensor) -> None:
        self._metrics.append(metrics)  # read when a line is written: reading waits for the device

    def write(self, step: int, rate: float) -> str:
        """Write a line; returns it in a few words."""
        means = tf.reduce_mean(tf.stack(self._metrics), 0).numpy().tolist()
        numbers = dict(zip(METRICS, means, strict=True))
        if not math.isfinite(numbers["loss"]):
            raise UserError(
                f"the loss became {numbers['loss']} between steps {self._step} and {step}. "
                "A lower training.learning_rate helps; so does looking at the images and labels."
            )
        now = time.monotonic()
        speed = len(self._metrics) * self._batch_size / (now - self._start)
        self._log.write(
            step,
            epoch=step * self._batch_size / self._images,
            **numbers,
            learning_rate=rate,
            images_per_second=speed,
            data_wait=self._waited / (now - self._start),
            seconds=self._before + now,
        )
        self._step = step
        self._restart()
        return f"loss {numbers['loss']:.3f}, {speed:.0f} images/s"

    def write_validation(self, step: int, metrics: dict[str, float]) -> None:
        named = {f"validation_{name}": metrics[name] for name in METRICS}
        self._log.write(
            step, epoch=step * self._batch_size / self._images, **named, seconds=self._before + time.monotonic()
        )
        self._restart()  # time spent on validation is no training time


class _Interrupted:
    """Turns Ctrl-C and SIGTERM into a wish: the loop saves a checkpoint after the step it is in, and ends.

    A second Ctrl-C ends at once. A second SIGTERM does not: one sent to the whole group is followed by the kernel's,
    for the parent that ended of the first.
    """

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if not self.asked:
            print("train: saving a checkpoint before stopping ...", file=sys.stderr)
        self.asked = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _what(run: Run, network: ResNet, strategy: tf.distribute.Strategy, images: int, first: int) -> str:
    training = run.recipe.training
    weights = sum(math.prod(variable.shape) for variable in network.trainable_variables)
    devices = device_names(strategy)
    batch = f"{training.groups} x {training.replica_batch_size} images a step on {len(devices)} x {devices[0]}"
    start = f", going on from step {first:,}" if first else ""
    return (
        f"train: ResNet-{run.recipe.model.depth} with {weights:,} weights, {images:,} images, "
        f"{training.epochs} epochs, {batch}{start}"
    )


def _epoch_line(epoch: int, epochs: int, note: str, metrics: dict[str, float]) -> str:
    return (
        f"epoch {epoch} of {epochs}: {note}; validation: loss {metrics['loss']:.3f}, "
        f"top-1 error {metrics['top1_error']:.2f} %, top-5 {metrics['top5_error']:.2f} %"
    )
