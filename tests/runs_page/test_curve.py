"""A small curve, drawn and in words."""

from __future__ import annotations

import pytest

from resnet.inventory.training_progress import TRAINING_LOSS, VALIDATION_ERROR, Curve
from resnet.runs_page.curve import HEIGHT, MARGIN, MOST_POINTS, WIDTH, drawing


def points(curve: Curve) -> list[tuple[float, float]]:
    return [tuple(map(float, point.split(","))) for point in drawing(curve).points.split()]


def test_there_is_no_drawing_of_nothing():
    assert drawing(Curve(TRAINING_LOSS)) is None


def test_the_curve_goes_from_left_to_right_and_zero_is_at_the_bottom():
    left, right, top, bottom = MARGIN, WIDTH - MARGIN, MARGIN, HEIGHT - MARGIN
    drawn = points(Curve(VALIDATION_ERROR, (1.0, 2.0, 3.0), (80.0, 40.0, 0.0)))
    assert drawn == [(left, top), ((left + right) / 2, (top + bottom) / 2), (right, bottom)]


@pytest.mark.parametrize("values", [(0.0,), (0.0, 0.0), (5.0,), (-1.0, 1e30), (1e-300, 1e308)])
def test_any_values_stay_inside(values):
    for x, y in points(Curve(TRAINING_LOSS, tuple(map(float, range(len(values)))), values)):
        assert 0 <= x <= WIDTH
        assert 0 <= y <= HEIGHT


def test_a_long_training_has_no_more_points_than_show_the_last_one_included():
    curve = Curve(TRAINING_LOSS, tuple(map(float, range(5000))), tuple(map(float, range(5000))))
    assert len(points(curve)) == MOST_POINTS
    assert points(curve)[-1] == (WIDTH - MARGIN, MARGIN)


@pytest.mark.parametrize(
    ("curve", "text", "caption"),
    [
        (
            Curve(VALIDATION_ERROR, (1.0, 38.0, 40.0), (45.12, 0.836, 1.114)),
            "Validation error fell from 45.1 % at epoch 1 to 1.11 % at epoch 40; lowest 0.836 % at epoch 38.",
            "validation error 45.1 to 1.11 %",
        ),
        (
            Curve(TRAINING_LOSS, (0.25, 0.5), (2.3, 2081.4)),
            "Training loss rose from 2.3 at epoch 0.2 to 2,081 at epoch 0.5.",
            "training loss 2.3 to 2,081",
        ),
        (
            Curve(VALIDATION_ERROR, (1.0, 2.0), (90.0, 90.0)),
            "Validation error was 90 % at epoch 1, and is again at epoch 2.",
            "validation error 90 to 90 %",
        ),
        (Curve(VALIDATION_ERROR, (1.0,), (66.667,)), "Validation error 66.7 % at epoch 1.", "validation error 66.7 %"),
    ],
)
def test_the_words_state_what_happened(curve, text, caption):
    drawn = drawing(curve)
    assert (drawn.text, drawn.caption) == (text, caption)
