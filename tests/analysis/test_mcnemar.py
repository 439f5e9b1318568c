"""McNemar's test: two results on the same images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_answers import random_answers
from scipy.stats import binom

from resnet.analysis.mcnemar import Comparison, compare, compare_images
from resnet.errors import UserError


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_the_p_value_is_the_exact_two_sided_one(pairs):
    a, b = np.array(pairs).T
    found = compare(a, b)
    only_a, only_b = pairs.count((True, False)), pairs.count((False, True))
    assert (found.only_a, found.only_b, found.images) == (only_a, only_b, len(pairs))
    assert found.difference == pytest.approx(100 * (np.mean(~b) - np.mean(~a)))
    assert found.p_value == pytest.approx(min(1, 2 * binom.cdf(min(only_a, only_b), only_a + only_b, 0.5)))
    assert compare(b, a).p_value == found.p_value
    assert compare(b, a).difference == -found.difference


def test_about_one_in_twenty_pairs_of_equally_good_results_is_called_different():
    random = np.random.default_rng(0)
    called = sum(compare(*(random.random((2, 500)) < 0.8)).significant for _ in range(1000))
    assert 20 <= called <= 60


def test_two_results_of_different_quality_differ_and_two_of_equal_quality_do_not():
    def answers(skill: float, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).random(2000) < skill

    assert compare(answers(0.90, 0), answers(0.80, 1)).significant
    assert not compare(answers(0.85, 2), answers(0.85, 3)).significant


@pytest.mark.parametrize(
    ("only_a", "only_b", "p_value", "sentence"),
    [
        (
            24,
            31,
            0.4188,
            "The error of seed-2 is 0.07 points lower, which may be chance (McNemar's test, p = 0.42): it is right "
            "on 31 images that this run gets wrong, and wrong on 24 that this run gets right.",
        ),
        (
            1200,
            1,
            1e-9,
            "The error of seed-2 is 11.99 points higher, more than chance explains (McNemar's test, p < 0.001): it is "
            "right on 1 image that this run gets wrong, and wrong on 1,200 that this run gets right.",
        ),
        (
            3,
            3,
            1.0,
            "seed-2 has the same error as this run: it is right on 3 images that this run gets wrong, and wrong on 3 "
            "that this run gets right.",
        ),
        (0, 0, 1.0, "seed-2 and this run are right on the same images."),
    ],
)
def test_the_sentence_says_what_the_difference_means(only_a, only_b, p_value, sentence):
    assert Comparison(10_000, only_a, only_b, p_value).sentence("seed-2") == sentence


def test_images_with_one_name_in_two_classes_are_compared_by_their_labels():
    images = replace(random_answers(0, images=4), files=["1.jpg", "1.jpg", "2.jpg", "2.jpg"])
    assert compare_images(images, images, "seed-2") == Comparison(4, 0, 0, 1.0)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"files": [f"{i}.jpg" for i in (1, 0, 2, 3)]}, "image 1 is 1.jpg, and here 0.jpg"),
        ({"labels": np.array([0, 1, 2, 0])}, "3.jpg has the label n0, and here n3"),
        ({"classes": [(f"m{i}", "x") for i in range(7)]}, "0.jpg has the label m0, and here n0"),
    ],
)
def test_other_images_are_not_compared(change, why):
    images = replace(random_answers(0, images=4), labels=np.array([0, 1, 2, 3]))
    with pytest.raises(UserError, match="seed-2 cannot be compared with this run image by image: ") as error:
        compare_images(images, replace(images, **change), "seed-2")
    assert why in str(error.value)


def test_another_number_of_images_is_not_compared():
    with pytest.raises(UserError, match="5 images were evaluated, and here 4"):
        compare_images(random_answers(0, images=4), random_answers(0, images=5), "seed-2")


def test_classes_in_another_order_do_not_matter():
    images = replace(random_answers(0, images=4), labels=np.array([0, 1, 2, 3]))
    other = replace(images, classes=images.classes[::-1], labels=6 - images.labels, likeliest=6 - images.likeliest)
    assert compare_images(images, other, "seed-2").only_a == 0
