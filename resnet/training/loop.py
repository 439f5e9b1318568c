"""The training loop: epoch by epoch train, validate, save."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

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


@dataclass
class TrainingLoop:
    """Trains until the schedule ends. `interruption.requested` makes it save and stop after the current step."""

    settings: Training
    schedule: Schedule
    step: TrainStep
    validate: Callable[[], dict[str, float]]
    checkpoints: Checkpoints
    log: TrainingLog
    interruption: Interruption
    progress: Progress
    done: int  # steps so far

    def __post_init__(self) -> None:
        at_epoch_start = self.done == 0 or self.schedule.is_epoch_end(self.done)
        self._meter = Meter(self.log, self.settings.batch_size, self.schedule.images, self.done, at_epoch_start)

    def run(self, batches: Iterator[Batch]) -> None:
        """Train to the end of the schedule. Raises KeyboardInterrupt, after saving, if an interruption is requested."""
        if self.schedule.is_epoch_end(self.done) and not self.log.is_validated:
            self._end_epoch()  # training was interrupted before or during this validation
            if self.interruption.requested:  # all steps so far are saved
                raise KeyboardInterrupt
        for batch in self._meter.timed(save_on_failure(batches, self.checkpoints, self.done)):
            self._train(batch)
            if self.schedule.is_epoch_end(self.done) and not self.interruption.requested:
                self._end_epoch()
            if self.interruption.requested or self._is_checkpoint_due():
                self._save()
            if self.interruption.requested:
                raise KeyboardInterrupt

    def _train(self, batch: Batch) -> None:
        learning_rate = self.schedule.learning_rate(batch.step)
        self._meter.add(self.step(batch.images, batch.labels, learning_rate))
        self.done = batch.step + 1
        is_line_due = self.done % self.schedule.log_steps == 0 or self.schedule.is_epoch_end(self.done)
        self.progress.advance(note=self._meter.write(self.done, learning_rate) if is_line_due else "")

    def _end_epoch(self) -> None:
        metrics = self.validate()
        self._meter.write_validation(self.done, metrics)
        epoch, loss = self.schedule.epochs_done(self.done), self._meter.end_epoch()
        logger.info("%s", epoch_line(epoch, self.settings.epochs, loss, metrics))

    def _is_checkpoint_due(self) -> bool:
        is_last = self.done == self.schedule.steps
        return self.done % self.settings.checkpoint_steps == 0 or self._is_kept() or is_last

    def _is_kept(self) -> bool:
        is_asked_for = self.schedule.epochs_done(self.done) in self.settings.keep_epochs
        return is_asked_for and self.schedule.is_epoch_end(self.done)

    def _save(self) -> None:
        self.log.sync()
        self.checkpoints.save(self.done, keep=self._is_kept())


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
    training = f": loss {loss:.3f}" if loss is not None else ""
    top1, top5 = validation["top1_error"], validation["top5_error"]
    scores = f"loss {validation['loss']:.3f}, error {top1:.2f} %, top-5 {top5:.2f} %"
    return f"epoch {epoch}/{epochs}{training}; validation: {scores}"
