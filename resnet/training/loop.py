"""The training loop: epoch by epoch train, save, validate."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from resnet.errors import UserError
from resnet.hosts.meeting import Meeting
from resnet.loader.loader import Batch
from resnet.progress import Progress, send_to_parent
from resnet.settings import Training
from resnet.training.checkpoints import Checkpoints
from resnet.training.feed import Feed
from resnet.training.log import TrainingLog
from resnet.training.meter import Meter
from resnet.training.pulse import Pulse
from resnet.training.schedule import Schedule
from resnet.training.step import Placed, TrainStep
from resnet.training.validation import Validation
from resnet.training.watch import Epoch, Watch

logger = logging.getLogger(__name__)

OnStep = Callable[[int], None]
OnValidation = Callable[[int, float], None]

LINE_SECONDS = 300.0  # between progress lines in a log file; each epoch has a line of its own


def nothing(*_: object) -> None:
    """What happens where nobody asks for more."""


def never() -> bool:
    """Where nobody asks for a checkpoint."""
    return False


@dataclass
class TrainingLoop:
    """Trains until the schedule ends, or the hosts agree to stop: then it saves, and stops between two steps."""

    settings: Training
    schedule: Schedule
    step: TrainStep
    validation: Validation
    checkpoints: Checkpoints
    log: TrainingLog
    meeting: Meeting
    pulse: Pulse
    done: int  # steps so far

    def run(
        self,
        batches: Iterator[Batch],
        on_epoch: OnStep = nothing,
        on_validation: OnValidation = nothing,
        is_asked_to_save: Callable[[], bool] = never,
    ) -> None:
        """Train to the end of the schedule. Raises KeyboardInterrupt, after saving, if it is interrupted.

        `on_epoch` is called after each validation, when its line is in the log; `on_validation` before that, while the
        network has the weights that were validated, also with their top-1 error in percent. Both get the steps so far.
        `is_asked_to_save` is asked after each step whether somebody wants a checkpoint of it.
        """
        self._on_epoch, self._on_validation, self._is_asked_to_save = on_epoch, on_validation, is_asked_to_save
        self._first = first = self.done
        last, at_epoch_end = self.schedule.steps, self.schedule.is_epoch_end(self.done)
        is_validation_due = at_epoch_end and not self.log.is_validated  # it was interrupted
        if first < last or is_validation_due:
            self.validation.check()
            self.meeting.come_together()
        at_epoch_start = first == 0 or at_epoch_end
        images = self.schedule.images
        self._meter = Meter(self.log, self.step.metrics, self.settings.batch_size, images, first, at_epoch_start)
        self._watch = Watch(self.validation.chance_error, self.validation.images, speaks=self.meeting.cluster.is_chief)
        try:
            with (
                Progress("training", last, "steps", done=first, line_seconds=LINE_SECONDS) as self._progress,
                self.pulse,
            ):
                if is_validation_due:
                    self._validate()
                self._train(self._meter.timed(batches))
                if self.done < last:
                    self._save_unless_saved()
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            self.pulse.require_progress()  # it may be why training was asked to stop
            raise

    def _train(self, batches: Iterator[Batch]) -> None:
        """Train on the batches, as long as there are some and the hosts go on.

        Batches are fetched, and sent to the devices, ahead of their steps, and before anything waits for a step.
        """
        with Feed(batches, self._place) as feed:
            feed.fetch()
            while feed and self.meeting.turn():
                learning_rate = self._run_step(feed)
                feed.fetch()
                self._end_step(learning_rate)
                is_asked_for = self._is_asked_to_save()
                if is_asked_for or self._is_checkpoint_due():
                    self._save()
                if is_asked_for:
                    send_to_parent(checkpoint=self.done)
                if self.schedule.is_epoch_end(self.done):
                    self._validate()

    def _run_step(self, feed: Feed[tuple[int, Placed]]) -> float:
        """Run a step on the next batch; returns its learning rate. Where the batch fails to come, the steps before it
        are saved first.

        Nothing refers to the batch afterwards, so that the loader can fill its memory again.
        """
        try:
            number, batch = feed.take()
        except Exception:
            self._save_or_warn()
            raise
        learning_rate = self.schedule.learning_rate(number)
        metrics = self.step.on(batch, learning_rate)
        if number == 0:
            self._watch.look_at_first_loss(float(metrics[0]), self.step.first_loss)
        self._meter.add(metrics)
        self.pulse.follow(number + 1, learning_rate, metrics)
        self.done = number + 1
        return learning_rate

    def _place(self, batch: Batch) -> tuple[int, Placed]:
        return batch.step, self.step.place(batch.images, batch.labels, batch.step)

    def _end_step(self, learning_rate: float) -> None:
        """Show progress, and write a line of the log if one is due: that waits for the devices."""
        is_line_due = self.done % self.schedule.log_steps == 0 or self.schedule.is_epoch_end(self.done)
        self.pulse.require_finite(all_steps=is_line_due)
        if not is_line_due:
            self._progress.advance()
            return
        epoch = min(self.schedule.epoch(self.done - 1) + 1, self.settings.epochs)
        gist = self._meter.write(self.done, learning_rate)
        self._progress.advance(1, *gist, f"epoch {epoch}/{self.settings.epochs}")

    def _validate(self) -> None:
        """Validate the epoch, whose checkpoint is saved. Raises KeyboardInterrupt if it is interrupted."""
        if self.meeting.is_at_end:
            raise KeyboardInterrupt
        with self.step.averaged():
            metrics = self.validation(self.pulse.beat)
            self._on_validation(self.done, metrics["top1_error"])
        self._meter.write_validation(self.done, metrics)
        number, epoch = self.schedule.epochs_done(self.done), self._meter.end_epoch()
        logger.info("%s", epoch_line(number, self.settings.epochs, epoch, metrics))
        self._watch.look(number, epoch, self.done, metrics["top1_error"])
        self._on_epoch(self.done)

    def _is_checkpoint_due(self) -> bool:
        """Also after the very first step, so that a folder that cannot be written shows at once."""
        is_regular = self.done % self.settings.checkpoint_steps == 0
        return self.done == 1 or is_regular or self.schedule.is_epoch_end(self.done)

    def _is_kept(self) -> bool:
        is_asked_for = self.schedule.epochs_done(self.done) in self.settings.keep_epochs
        return is_asked_for and self.schedule.is_epoch_end(self.done)

    def _save(self) -> None:
        self.pulse.require_finite(all_steps=True)
        self.log.sync()
        self.checkpoints.save(self.done, keep=self._is_kept())
        self.pulse.beat()

    def _save_unless_saved(self) -> None:
        if self.done not in {self._first, *self.checkpoints.steps()}:
            self._save()

    def _save_or_warn(self) -> None:
        """Save because of another error, which is the one to report."""
        try:
            self._save_unless_saved()
        except UserError as error:
            logger.warning("%s", error)


def epoch_line(number: int, epochs: int, epoch: Epoch, validation: dict[str, float]) -> str:
    """An epoch in a line of 80 columns, with the mean loss of its training batches. Errors are in percent."""
    training = f": loss {epoch.loss:.3f}" if epoch.loss is not None else "" if epoch.is_whole else ", resumed"
    top1, top5 = validation["top1_error"], validation["top5_error"]
    scores = f"loss {validation['loss']:.3f}, error {top1:.2f} %, top-5 {top5:.2f} %"
    return f"epoch {number}/{epochs}{training}; validation: {scores}"
