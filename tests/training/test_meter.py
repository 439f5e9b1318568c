"""What the log says about steps: means of their metrics, and what float16 has besides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from resnet.errors import UserError
from resnet.training.gradients import GRADIENT_NORM, METRICS
from resnet.training.log import TrainingLog
from resnet.training.log_format import read_log
from resnet.training.meter import Meter
from resnet.training.step import OF_LOSS_SCALE


def written(
    folder: Path, *steps: list[float], names: tuple[str, ...] = (*METRICS, GRADIENT_NORM, *OF_LOSS_SCALE)
) -> dict[str, float]:
    """The line of the log about steps with these metrics."""
    with TrainingLog(folder, 0) as log:
        meter = Meter(log, names, batch_size=4, images=20, first_step=0, at_epoch_start=True)
        for metrics in steps:
            meter.add(tf.constant(metrics))
        meter.write(len(steps), learning_rate=0.1)
    [line] = read_log(folder / "log.jsonl")
    return line


def test_metrics_are_means_over_the_steps(tmp_path):
    line = written(tmp_path, [1.0, 90.0, 50.0, 2.0], [3.0, 80.0, 40.0, 2.0], names=(*METRICS, GRADIENT_NORM))
    assert (line["loss"], line["top1_error"], line["top5_error"], line["gradient_norm"]) == (2, 85, 45, 2)
    assert "loss_scale" not in line


def test_a_skipped_step_is_in_the_log_and_in_a_message_with_the_halved_scale(tmp_path, caplog):
    line = written(tmp_path, [1, 90, 50, 2.0, 32768, 0], [1, 90, 50, 2.0, 16384, 1], [1, 90, 50, 2.0, 16384, 0])
    assert (line["loss_scale"], line["skipped_steps"]) == (16384, 1)
    assert (
        "1 of the steps 1 to 3 changed nothing: a gradient overflowed in float16. The loss scale is 16384"
        in caplog.text
    )


def test_a_skipped_step_whose_loss_overflowed_too_does_not_end_the_training(tmp_path):
    line = written(
        tmp_path, [1.0, 90, 50, 2.0, 32768, 0], [np.inf, 90, 50, 2.0, 16384, 1], [3.0, 80, 40, 2.0, 16384, 0]
    )
    assert (line["loss"], line["top1_error"], line["skipped_steps"]) == (2, 85, 1)


def test_a_small_scale_at_which_steps_succeed_is_enough(tmp_path):
    assert written(tmp_path, [1, 90, 50, 2.0, 0.5, 1], [1, 90, 50, 2.0, 0.5, 0])["loss_scale"] == 0.5


def test_where_a_line_is_about_one_step_the_message_names_it(tmp_path, caplog):
    written(tmp_path, [1, 90, 50, 2.0, 16384, 1])
    assert "step 1 changed nothing: a gradient overflowed" in caplog.text


def test_without_an_overflow_there_is_no_message(tmp_path, caplog):
    assert written(tmp_path, [1, 90, 50, 2.0, 32768, 0])["skipped_steps"] == 0
    assert caplog.text == ""


def test_overflows_at_every_scale_end_the_training(tmp_path):
    with pytest.raises(UserError, match=r"however small the loss scale.* training\.precision=bfloat16"):
        written(tmp_path, [1, 90, 50, 2.0, 0.5, 1])


def test_an_epoch_is_summed_up_without_the_first_line_of_an_attempt(tmp_path, monkeypatch):
    clock = iter([0, 0, 100, 100, 101, 101, 103, 103, 103, 103, 105, 105, 105])
    monkeypatch.setattr("resnet.training.meter.time.monotonic", lambda: float(next(clock)))
    with TrainingLog(tmp_path, 0) as log:
        meter = Meter(log, (*METRICS, GRADIENT_NORM), batch_size=8, images=16, first_step=0, at_epoch_start=True)
        lines = []
        for number in (1, 2):
            meter.add(tf.constant([float(number), 90.0, 50.0, 2.0]))
            lines.append(meter.write(number, learning_rate=0.1))
    epoch = meter.end_epoch()
    assert "0 images/s" in lines[0]  # 8 images in 100 s
    assert epoch.images_per_second == 8
    assert (epoch.loss, epoch.data_wait) == (1.5, 0)
    assert meter.end_epoch() == (None, None, None, True)


def test_of_steps_that_were_all_skipped_with_an_infinite_loss_there_is_no_line(tmp_path):
    with TrainingLog(tmp_path, 0) as log:
        meter = Meter(log, (*METRICS, GRADIENT_NORM, *OF_LOSS_SCALE), 4, 20, 0, at_epoch_start=True)
        meter.add(tf.constant([np.inf, 90, 50, np.nan, 64.0, 1]))
        meter.write(1, learning_rate=0.1)
    assert read_log(tmp_path / "log.jsonl") == []
