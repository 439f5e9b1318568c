"""The training loop: epoch by epoch train, validate, save."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple

from resnet.loader.loader import Batch
from resnet.progress import Progress
from resnet.settings import Training
from resnet.training.checkpoints import Checkpoints
from resnet.training.interruption import Interruption
from resnet.training.log import TrainingLog
from resnet.training.meter import Meter
from resnet.training.schedule import Schedule
from resnet.training.step import TrainStep

logger = logging.getLogger(__name__)


class Parts(NamedTuple):
    """What the loop puts together."""

    settings: Training
    schedule: Schedule
    step: TrainStep
    validate: Callable[[], dict[str, float]]
    checkpoints: Checkpoints
    log: TrainingLog


class TrainingLoop:
    """Trains from step `first` on. `interruption.requested` makes it save and stop after the step that it is in."""

    def __init__(self, parts: Parts, first: int, interruption: Interruption, progress: Progress):
        self._settings, self._schedule, self._step, self._validate, self._checkpoints, self._log = parts
        self._interruption, self._progress = interruption, progress
        self._done = first
        self._meter = Meter(self._log, self._settings.batch_size, self._schedule.images, first)

    def run(self, batches: Iterator[Batch]) -> None:
        """Train to the end of the schedule. Raises KeyboardInterrupt, when all is saved, if that is requested."""
        if self._schedule.is_epoch_end(self._done) and not self._log.is_validated:
            self._end_epoch()  # the interruption came before its validation
        for batch in self._meter.timed(save_on_failure(batches, self._checkpoints, self._done)):
            self._train(batch)
            if self._interruption.requested:
                logger.info("saving a checkpoint before stopping")
                self._save()
                raise KeyboardInterrupt
            if self._schedule.is_epoch_end(self._done):
                self._end_epoch()
            if self._is_checkpoint_due():
                self._save()

    def _train(self, batch: Batch) -> None:
        learning_rate = self._schedule.learning_rate(batch.step)
        self._meter.add(self._step(batch.images, batch.labels, learning_rate))
        self._done = batch.step + 1
        is_line_due = self._done % self._schedule.log_steps == 0 or self._schedule.is_epoch_end(self._done)
        self._progress.advance(note=self._meter.write(self._done, learning_rate) if is_line_due else "")

    def _end_epoch(self) -> None:
        metrics = self._validate()
        self._meter.write_validation(self._done, metrics)
        epoch, loss = self._schedule.epochs_done(self._done), self._meter.end_epoch()
        logger.info("%s", epoch_line(epoch, self._settings.epochs, loss, metrics))

    def _is_checkpoint_due(self) -> bool:
        is_last = self._done == self._schedule.steps
        return self._done % self._settings.checkpoint_steps == 0 or self._is_kept() or is_last

    def _is_kept(self) -> bool:
        is_asked_for = self._schedule.epochs_done(self._done) in self._settings.keep_epochs
        return is_asked_for and self._schedule.is_epoch_end(self._done)

    def _save(self) -> None:
        self._log.sync()
        self._checkpoints.save(self._done, keep=self._is_kept())


def save_on_failure(batches: Iterator[Batch], checkpoints: Checkpoints, first: int) -> Iterator[Batch]:
    """The same batches. Where the next one fails to come, save a checkpoint of all steps before, then raise."""
    done = first
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


def epoch_line(epoch: int, epochs: int, loss: float | None, validation: dict[str, float]) -> str:
    """An epoch in a line of 80 columns. `loss` is the mean over its training batches; errors are in percent."""
    training = f"loss {loss:.3f}; " if loss is not None else ""
    top1, top5 = validation["top1_error"], validation["top5_error"]
    scores = f"loss {validation['loss']:.3f}, top-1 {top1:.2f} %, top-5 {top5:.2f} %"
    return f"epoch {epoch}/{epochs}: {training}validation: {scores}"
