"""Whether probabilities mean what they say, and the temperature that makes them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from made_answers import made_answers, random_answers, written
from scipy.special import log_softmax, softmax

from resnet.analysis import temperature
from resnet.analysis.answers import EvaluatedImages
from resnet.analysis.calibration import calibration, expected_calibration_error, reliability

EDGES = np.linspace(0, 1, 16).tolist()


def drawn_answers(factor: float, images: int = 4000, classes: int = 6) -> EvaluatedImages:
    """Labels drawn from the softmax of logits, which are then multiplied: the right temperature is the factor."""
    random = np.random.default_rng(3)
    logits = 2 * random.standard_normal((images, classes))
    labels = (softmax(logits, 1).cumsum(1) > random.random((images, 1))).argmax(1)
    return made_answers(factor * logits, labels)


@given(st.lists(st.tuples(st.floats(0, 1) | st.sampled_from(EDGES), st.booleans()), min_size=1, max_size=400))
@example([(edge, True) for edge in EDGES for _ in range(20)])
def test_bins_and_error_are_what_a_loop_over_the_images_gives(answers):
    confidence, correct = (np.array(column) for column in zip(*answers, strict=True))
    bins = reliability(confidence, correct)
    assert len(bins) == max(1, min(15, len(answers) // 20))
    assert bins["images"].sum() == len(answers)
    total = 0.0
    for row in bins.itertuples():
        inside = (confidence > row.low) & (confidence <= row.high) | ((row.low == 0) & (confidence == 0))
        assert row.images == inside.sum()
        if row.images:
            assert row.confidence == pytest.approx(confidence[inside].mean())
            assert row.accuracy == pytest.approx(correct[inside].mean())
            assert row.accuracy_low <= row.accuracy <= row.accuracy_high
            total += inside.sum() * abs(confidence[inside].mean() - correct[inside].mean())
        else:
            assert np.isnan([row.confidence, row.accuracy, row.accuracy_low]).all()
    assert expected_calibration_error(bins) == pytest.approx(total / len(answers))


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_temperature_is_the_one_that_the_labels_were_drawn_with(factor):
    found = calibration(drawn_answers(factor))
    assert found.temperature == pytest.approx(factor, rel=0.06)
    assert found.ece_after < 0.03
    assert found.scaled.loss <= found.scaled.loss_before + 0.005


def test_the_temperature_minimises_the_loss_on_a_grid():
    images = drawn_answers(2.0, images=500)
    grid = np.arange(0.5, 4, 0.01)
    rows = np.arange(500)
    losses = [-log_softmax(images.logits / t, 1)[rows, images.labels].mean() for t in grid]
    assert calibration(images).temperature == pytest.approx(grid[np.argmin(losses)], abs=0.015)


def test_each_half_of_the_images_is_judged_with_the_temperature_of_the_other(monkeypatch):
    images = drawn_answers(2.0, images=60)
    fitted = {}
    best = temperature._best

    def recorded(images, chosen, bounds):
        fitted[tuple(chosen)] = best(images, chosen, bounds)
        return fitted[tuple(chosen)]

    monkeypatch.setattr(temperature, "_best", recorded)
    scaled, _ = temperature.fit_temperature(images)
    halves = [np.array(chosen) for chosen in fitted if not all(chosen)]
    assert len(halves) == 2
    np.testing.assert_array_equal(halves[0], ~halves[1])
    for half in halves:
        other = fitted[tuple(~half)]
        expected = softmax(images.logits.astype(float) / other, 1).max(1)
        np.testing.assert_allclose(scaled.confidence[half], expected[half], rtol=1e-5)
    assert len(set(fitted.values())) == 3


def test_noise_is_not_flattered_by_a_temperature_fitted_to_it():
    """A temperature fitted to the very images that it is judged on would lower their loss in every case."""
    worse = 0
    for seed in range(8):
        random = np.random.default_rng(seed)
        logits = 2 * random.standard_normal((60, 6))
        labels = (softmax(logits, 1).cumsum(1) > random.random((60, 1))).argmax(1)
        found = calibration(made_answers(logits, labels))
        is_worse = found.scaled.loss > found.scaled.loss_before
        assert ("No temperature would help" in found.sentence) == is_worse
        worse += is_worse
    assert worse >= 3


def test_small_blocks_of_a_file_give_the_same(tmp_path, monkeypatch):
    made = drawn_answers(2.0, images=300)
    images = EvaluatedImages.read(*written(tmp_path, made), made.classes)
    expected = calibration(made)
    blocks = images.logit_blocks
    monkeypatch.setattr(EvaluatedImages, "logit_blocks", lambda self: blocks(size=50))
    found = calibration(images)
    assert found.temperature == pytest.approx(expected.temperature, rel=1e-5)
    assert found.scaled.loss == pytest.approx(expected.scaled.loss, rel=1e-6)


def test_without_logits_the_error_is_known_and_the_sentence_says_why_there_is_no_temperature():
    images = random_answers(0)
    found = calibration(made_answers(images.logits, images.labels, with_logits=False))
    assert found.ece == pytest.approx(calibration(images).ece, abs=1e-6)
    assert found.temperature is None
    assert np.isnan(found.ece_after)
    assert "No temperature is fitted: the evaluation kept no logits" in found.sentence


def test_unanswered_images_are_left_out_and_counted():
    images = drawn_answers(2.0, images=300)
    logits = np.concatenate([images.logits, np.full((9, 6), np.nan), np.zeros((5, 6))])
    found = calibration(made_answers(logits, [*images.labels, *[0] * 14]))
    assert (found.images, found.unanswered) == (300, 14)
    alone = calibration(images)
    assert found.ece == pytest.approx(alone.ece)
    assert found.temperature == pytest.approx(alone.temperature, rel=0.02)
    assert np.isnan(found.scaled.confidence).tolist() == [False] * 300 + [True] * 14
    after = reliability(found.scaled.confidence[:300], images.correct)
    assert found.ece_after == pytest.approx(expected_calibration_error(after))


def test_a_network_that_answers_nothing_is_said_to():
    found = calibration(made_answers(np.full((30, 3), np.nan), [0] * 30))
    assert found.images == 0
    assert np.isnan(found.ece)
    assert "an answer for no image" in found.sentence


@pytest.mark.parametrize(
    ("logits", "why"),
    [
        ([[0, 1, 2]] * 10, "that needs 20 images with an answer"),
        ([[-np.inf, 0, 1]] * 30, "the network gave a label the probability 0, so its loss is infinite"),
    ],
)
def test_where_no_temperature_can_be_fitted_it_says_why(logits, why):
    found = calibration(made_answers(logits, [0] * len(logits)))
    assert found.temperature is None
    assert found.sentence.endswith(f"No temperature is fitted: {why}.")


@pytest.mark.parametrize(
    ("factor", "what"),
    [
        (3.0, r"overconfident by \d+\.\d points \(expected calibration error \d+\.\d points\)\. Logits divided by a "),
        (0.4, r"underconfident by \d+\.\d points"),
    ],
)
def test_the_sentence_states_the_finding(factor, what):
    found = calibration(drawn_answers(factor))
    start = f"The network says {found.confidence:.2f} on average and is right in {found.accuracy:.2f} of the images: "
    assert found.sentence.startswith(start)
    assert re.search(what, found.sentence)
