"""What goes into the training log: metrics averaged between two lines, speed, and the time spent waiting for images."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from resnet.errors import UserError
from resnet.loader.loader import Batch
from resnet.training.gradients import GRADIENT_NORM, METRICS
from resnet.training.log import TrainingLog
from resnet.training.watch import Epoch

logger = logging.getLogger(__name__)


class Meter:
    """Collects the steps' metrics, by their `names`, and writes the log's lines."""

    def __init__(
        self,
        log: TrainingLog,
        names: Sequence[str],
        batch_size: int,
        images: int,
        first_step: int,
        at_epoch_start: bool,
    ):
        self._log, self._names, self._batch_size, self._images = log, names, batch_size, images
        self._before = log.seconds_before - time.monotonic()
        self._step = first_step
        self._epoch_sum, self._epoch_steps, self._is_whole_epoch = 0.0, 0, at_epoch_start
        self._epoch_images, self._epoch_seconds, self._epoch_waited = 0, 0.0, 0.0
        self._is_first_line = True
        self._restart()

    def _restart(self) -> None:
        self._metrics: list[tf.Tensor] = []
        self._start, self._waited = time.monotonic(), 0.0

    def timed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches, measuring how long the wait for each is."""
        while True:
            start = time.monotonic()
            batch = next(batches, None)
            self._waited += time.monotonic() - start
            if batch is None:
                return
            yield batch

    def add(self, metrics: tf.Tensor) -> None:
        self._metrics.append(metrics)  # read when a line is written: reading waits for the device

    def write(self, step: int, learning_rate: float) -> list[str]:
        """Write a line about the steps up to `step`; returns its gist, the most important first. Skipped steps do not
        count, unless all were."""
        columns = dict(zip(self._names, tf.stack(self._metrics, 1).numpy(), strict=True))
        skipped = columns.get("skipped_steps", np.zeros(len(self._metrics))) > 0
        counted = ~skipped if not skipped.all() else skipped
        numbers = {name: float(columns[name][counted].mean()) for name in (*METRICS, GRADIENT_NORM)}
        if "loss_scale" in columns:
            numbers |= self._about_loss_scale(columns, step)
        now = time.monotonic()
        images, seconds = len(self._metrics) * self._batch_size, now - self._start
        speed = images / seconds
        if not self._is_first_line:  # in which workers start, and the step is traced
            self._epoch_images += images
            self._epoch_seconds += seconds
            self._epoch_waited += self._waited
        self._is_first_line = False
        line = {name: value for name, value in numbers.items() if math.isfinite(value)} | {
            "learning_rate": learning_rate,
            "images_per_second": speed,
            "data_wait": self._waited / seconds,
            "seconds": self._before + now,
        }
        if "loss" in line:  # otherwise float16 has skipped all steps
            self._log.write(step, epoch=step * self._batch_size / self._images, **line)
            self._epoch_sum += numbers["loss"] * len(self._metrics)
            self._epoch_steps += len(self._metrics)
        self._step = step
        self._restart()
        errors = f"error {numbers['top1_error']:.1f} %, top-5 {numbers['top5_error']:.1f} %"
        return [
            f"loss {numbers['loss']:.3f}",
            f"{speed:.0f} images/s",
            errors,
            f"waiting {100 * line['data_wait']:.0f} %",
        ]

    def _about_loss_scale(self, columns: dict[str, np.ndarray], step: int) -> dict[str, float]:
        """The scale after the steps, and how many were skipped. Raises UserError where no scale is small enough."""
        scale, skipped = float(columns["loss_scale"][-1]), int(columns["skipped_steps"].sum())
        if skipped:
            first = self._step + 1
            which = f"step {step}" if first == step else f"{skipped} of the steps {first} to {step}"
            logger.warning("%s changed nothing: a gradient overflowed in float16. The loss scale is %g", which, scale)
        if scale < 1 and columns["skipped_steps"][-1]:
            raise UserError(
                f"gradients overflow in float16 up to step {step}, however small the loss scale. "
                "Lower training.learning_rate, or set training.precision=bfloat16."
            )
        return {"loss_scale": scale, "skipped_steps": skipped}

    def write_validation(self, step: int, metrics: dict[str, float]) -> None:
        """Write the line of an epoch's validation. The time that it took does not count as training."""
        named = {f"validation_{name}": metrics[name] for name in METRICS}
        epoch = step * self._batch_size / self._images
        self._log.write(step, epoch=epoch, **named, seconds=self._before + time.monotonic())
        self._restart()  # time spent on validation is not training time

    def end_epoch(self) -> Epoch:
        """What the epoch was like. Its loss is not known where training resumed in it, or all steps were skipped."""
        is_known, seconds = self._is_whole_epoch and self._epoch_steps > 0, self._epoch_seconds
        epoch = Epoch(
            loss=self._epoch_sum / self._epoch_steps if is_known else None,
            is_whole=self._is_whole_epoch,
            images_per_second=self._epoch_images / seconds if seconds else None,
            data_wait=self._epoch_waited / seconds if seconds else None,
        )
        self._epoch_sum, self._epoch_steps, self._is_whole_epoch = 0.0, 0, True
        self._epoch_images, self._epoch_seconds, self._epoch_waited = 0, 0.0, 0.0
        return epoch
