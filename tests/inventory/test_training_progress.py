"""How far a training is, by its log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resnet.inventory import training_progress
from resnet.inventory.training_progress import TRAINING_LOSS, VALIDATION_ERROR, read_progress
from resnet.training.log_format import read_log, read_outline

NUMBERS = {"top1_error": 34.1, "learning_rate": 0.1, "images_per_second": 690.0, "data_wait": 0.02}


def trained(step: int, epoch: float, loss: float) -> dict[str, float]:
    return NUMBERS | {"step": step, "epoch": epoch, "loss": loss, "seconds": 10.0 * epoch}


def validated(step: int, epoch: float, error: float) -> dict[str, float]:
    scores = {"validation_loss": 1.0, "validation_top1_error": error, "validation_top5_error": 0.0}
    return {"step": step, "epoch": epoch, "seconds": 10.0 * epoch} | scores


@pytest.fixture
def log(tmp_path):
    """log(line, ...): a log of these lines."""

    def write(*lines: dict[str, float]) -> Path:
        path = tmp_path / "log.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return write


def test_without_a_log_nothing_is_known_and_nothing_is_wrong(tmp_path):
    assert read_progress(tmp_path / "log.jsonl") == training_progress.TrainingProgress()
    assert read_progress(tmp_path / "log.jsonl" / "below").problem == ""


def test_the_curve_is_of_the_training_loss_until_an_epoch_was_validated(log):
    progress = read_progress(log(trained(1, 0.2, 2.3), trained(2, 0.4, 2.1)))
    assert progress.curve == (TRAINING_LOSS, (0.2, 0.4), (2.3, 2.1))
    assert (progress.epoch, progress.seconds, progress.loss, progress.validation_error) == (0.4, 4.0, 2.1, None)


def test_the_curve_is_of_the_validation_error_afterwards(log):
    lines = [trained(5, 1.02, 2.0), validated(5, 1.02, 60.0), trained(10, 2.04, 1.0), validated(10, 2.04, 40.0)]
    progress = read_progress(log(*lines, trained(12, 2.5, 0.9)))
    assert progress.curve == (VALIDATION_ERROR, (1.0, 2.0), (60.0, 40.0))
    assert (progress.epoch, progress.loss, progress.validation_error) == (2.5, 0.9, 40.0)


def test_a_loss_that_is_not_a_number_is_left_out_of_the_curve_and_is_still_the_newest(log):
    progress = read_progress(log(trained(1, 0.2, 2.3), trained(2, 0.4, float("nan"))))
    assert progress.curve.values == (2.3,)
    assert progress.loss != progress.loss


def test_the_outline_is_of_the_same_lines_as_the_whole_log(log):
    path = log(*(line for k in range(1, 9) for line in (trained(k, k - 0.5, 1.0), validated(k, k, 1.0))))
    whole = read_log(path)
    assert read_outline(path) == [line for line in whole if "validation_loss" in line or line["step"] == 8]


def test_a_line_that_is_still_being_written_is_left_out_and_no_problem(log):
    path = log(trained(1, 0.2, 2.3))
    path.write_text(path.read_text() + '{"step": 2, "ep')
    progress = read_progress(path)
    assert (progress.loss, progress.problem) == (2.3, "")


def test_lines_that_cannot_be_read_are_counted(log):
    path = log(validated(1, 1.0, 60.0))
    path.write_bytes(path.read_bytes() + b'{"validation_loss": 1}\n\xff\n')
    progress = read_progress(path)
    assert progress.validation_error == 60.0
    assert progress.problem == f"{path}: 2 of its lines cannot be read"


def test_a_log_that_is_a_folder_or_too_large_is_a_problem(tmp_path, log, monkeypatch):
    assert read_progress(tmp_path).problem == f"{tmp_path} cannot be read: Is a directory"
    monkeypatch.setattr(training_progress, "MOST_BYTES", 10)
    path = log(trained(1, 0.2, 2.3))
    assert read_progress(path).problem == f"{path} is too large to show: 0 MB"
