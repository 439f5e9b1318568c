"""What a result is worth against always answering the most frequent class."""

from __future__ import annotations

import numpy as np
import pytest
from made_answers import answered
from scipy.stats import binom

from resnet.analysis.baseline import chance, compare_with_chance, dominant

LABELS = [0] * 50 + [1] * 30 + [2] * 20


def test_chance_is_the_error_of_the_most_frequent_class():
    assert chance(answered([1] * 100, LABELS, 3)) == pytest.approx(50)


def test_the_p_value_is_that_of_as_many_right_answers_by_chance():
    answers = np.array(LABELS)
    answers[:41] = 1
    found = compare_with_chance(answered(answers, LABELS, 3))
    assert found.error == pytest.approx(41)
    assert found.p_value == pytest.approx(binom.sf(58, 100, 0.5))
    assert found.better_than_chance == (found.p_value < 0.05)


def test_a_network_that_answers_one_class_for_everything_is_said_to():
    found = compare_with_chance(answered([0] * 98 + [1, 2], LABELS, 3))
    assert not found.better_than_chance
    assert found.dominant.takes_all
    assert "This network is not better than that: 49.00 %" in found.sentence
    assert found.sentence.endswith(
        "the network answers “name 0” for 98.0 % of the images, and 50.0 % are of that class."
    )


def test_a_good_network_only_has_chance_beside_it():
    found = compare_with_chance(answered(LABELS, LABELS, 3))
    assert found.better_than_chance
    assert found.sentence == "Always answering “name 0”, the most frequent class, gives 50.00 % error."


def test_a_class_that_has_nearly_all_images_may_take_nearly_all_answers():
    labels = [0] * 95 + [1] * 5
    assert not dominant(answered(labels, labels, 2)).takes_all


def test_unanswered_images_are_counted_and_dominate_nothing():
    found = compare_with_chance(answered([-1] * 90 + [2] * 10, LABELS, 3))
    assert found.unanswered == 90
    assert (found.dominant.label, found.dominant.share) == (2, 1.0)
    assert "For 90 of 100 images the network has no single answer" in found.sentence
    found = compare_with_chance(answered([-1] * 100, LABELS, 3))
    assert found.dominant is None
    assert found.error == 100


def test_classes_with_as_many_images_each_have_no_most_frequent_one():
    found = compare_with_chance(answered([0, 1, 2] * 9, [0, 1, 2] * 9, 3))
    assert found.sentence == "Always answering the same class gives 66.67 % error."
