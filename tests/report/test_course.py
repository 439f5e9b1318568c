"""The course of a training: what its log says by epoch, and its curves."""

from __future__ import annotations

import numpy as np
import pytest
from made_runs import log_lines

from resnet.report.course import course_of, curve
from resnet.report.curves import how_to_read, training_figures
from resnet.settings import Training
from resnet.training.log_format import LogLines


def logged(epochs) -> LogLines:
    """A log of training with lines at these epochs."""
    numbers = {"loss": 1.0, "top1_error": 9.0, "learning_rate": 0.1, "images_per_second": 10.0, "data_wait": 0.01}
    return LogLines({"step": i + 1, "epoch": float(epoch), "seconds": 1.0} | numbers for i, epoch in enumerate(epochs))


def test_epochs_are_means_over_their_lines_and_drops_are_named():
    log = LogLines(log_lines(epochs=4, per_epoch=5, validated=True))
    course = course_of(log, Training(epochs=4, drop_epochs=[2, 3], batch_size=64), log_has_changed=False)
    first = [line["top1_error"] for line in log[:6] if "top1_error" in line]
    assert course.epochs[0]["top1_error"] == pytest.approx(np.mean(first))
    assert [epoch["validation_loss"] for epoch in course.epochs][:2] == [2081.0, pytest.approx(1.28)]
    assert course.sentences[-1] == "The learning rate dropped after epochs 2 and 3."
    assert course.sentences[1].startswith("Validation error, with moving averages of the statistics, fell from ")


def test_a_log_of_many_lines_is_thinned_and_says_so():
    log = LogLines(log_lines(epochs=100, per_epoch=20))
    shown = curve(log, "loss")
    assert (shown.lines, shown.step, len(shown.values)) == (2000, 5, 400)


def test_a_log_without_a_line_about_training_has_no_course():
    assert course_of(LogLines(), Training(), False) is None


@pytest.mark.parametrize(
    ("best_step", "said"), [(10, ["The weights after epoch 2 are in train/best.safetensors."]), (None, [])]
)
def test_it_is_said_which_epochs_weights_are_kept_as_the_best(best_step, said):
    """Not those with the lowest error, where they were asked for late."""
    log = LogLines()
    for epoch, error in enumerate((10.0, 20.0, 30.0, 40.0), 1):
        log += logged([epoch])
        validation = {"validation_loss": 1.0, "validation_top1_error": error}
        log += [{"step": 5 * epoch, "epoch": float(epoch), "seconds": 1.0, **validation}]
    sentences = course_of(log, Training(epochs=4, drop_epochs=[]), False, best_step=best_step).sentences
    assert any("lowest after epoch 1, at 10" in one for one in sentences)
    assert [one for one in sentences if "best.safetensors" in one] == said


def test_the_epoch_of_the_best_weights_is_right_where_batches_reach_far_into_the_next_epoch():
    """With 100 images in batches of 64, the second epoch ends with step 4, which is 2.56 epochs."""
    log = LogLines(logged([0.64, 1.28, 1.92]))
    log += [{"step": 4, "epoch": 2.56, "seconds": 1.0, "validation_loss": 1.0, "validation_top1_error": 10.0}]
    sentences = course_of(log, Training(epochs=2, drop_epochs=[]), False, best_step=4).sentences
    assert "The weights after epoch 2 are in train/best.safetensors." in sentences


def test_the_note_says_which_lines_are_drawn():
    for log, is_thinned in ((log_lines(epochs=100, per_epoch=20), True), (log_lines(), False)):
        note = how_to_read(LogLines(log), course_of(LogLines(log), Training(), False))
        assert ("every 5th of 2,000 lines is drawn" in note) == is_thinned
        assert ("every" in note) == is_thinned


def test_the_note_speaks_of_drops_where_there_are_some():
    log = LogLines(log_lines(epochs=4, per_epoch=5))
    notes = [how_to_read(log, course_of(log, Training(epochs=4, drop_epochs=drops), False)) for drops in ([2], [])]
    assert ["Dashed lines are drops" in note for note in notes] == [True, False]


@pytest.mark.parametrize(
    ("rates", "sentence"),
    [
        ([0.1, 0.1, 0.1], "It stayed at 0.1."),
        ([0.1, 0.1, 0.01], "It went from 0.1 to 0.01."),
        ([0.000890125, 0.01, 2.41433e-05], "It went from 0.00089 up to 0.01, and to 2.41e-05."),
        ([0.05, 0.1, 0.1], "It went from 0.05 to 0.1."),
    ],
)
def test_the_learning_rate_is_told_with_its_greatest_value_where_it_rises_first(rates, sentence):
    log = logged(range(1, 4))
    for line, rate in zip(log, rates, strict=True):
        line["learning_rate"] = rate
    assert training_figures(log, course_of(log, Training(epochs=3), False))[2].finding == sentence


def test_a_loss_far_off_the_others_is_inside_a_logarithmic_axis_and_named():
    log = LogLines(log_lines(epochs=4, per_epoch=5, validated=True))
    loss = training_figures(log, course_of(log, Training(epochs=4, drop_epochs=[]), False))[1]
    assert "loss (logarithmic)" in loss.svg
    assert "the validation loss started at 2,081" in loss.finding


def test_numbers_in_the_log_that_are_not_finite_are_left_out_of_the_curves():
    log = LogLines(log_lines(epochs=3, per_epoch=2))
    log[1]["loss"] = float("nan")
    assert len(curve(log, "loss").values) == 5


def test_a_thinned_curve_keeps_the_last_line():
    found = curve(logged(range(1, 1000)), "loss")
    assert found.step > 1
    assert found.epochs[-1] == 999


def test_a_wait_after_the_first_epoch_is_not_claimed_of_one_epoch():
    log = logged([0.5, 1.0])
    assert course_of(log, Training(epochs=1), False).slowest_wait is None
    speed = training_figures(log, course_of(log, Training(epochs=1), False))[-1]
    assert speed.finding.endswith("waited for images for 1.0 % of the time.")
