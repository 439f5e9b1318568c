"""Classes counted in two orders: recognised, named, and not invented."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_answers import answered, random_answers
from scipy.optimize import linear_sum_assignment

from resnet.analysis.answers import EvaluatedImages
from resnet.analysis.class_order import best_permutation, reordered_error
from resnet.analysis.confusions import confusion_matrix


def permuted(permutation, identifiers=None, images: int = 600, right: float = 0.9) -> EvaluatedImages:
    """Images of which a share gets the answer permutation[label], and the others any answer but the label."""
    random = np.random.default_rng(0)
    size = len(permutation)
    labels = random.integers(0, size, images)
    others = (labels + random.integers(1, size, images)) % size
    answers = np.where(random.random(images) < right, np.asarray(permutation)[labels], others)
    names = identifiers or [f"n{i:02d}" for i in range(size)]
    return replace(answered(answers, labels, size), classes=[(name, f"name {name}") for name in names])


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 5)), min_size=1, max_size=60))
def test_the_permutation_is_as_good_as_the_dense_assignment(pairs):
    labels, answers = np.array(pairs).T
    images = answered(answers, labels, 6)
    permutation = best_permutation(images, np.ones(len(pairs), bool))
    assert sorted(permutation) == list(range(6))
    matrix = confusion_matrix(images)
    rows, columns = linear_sum_assignment(matrix, maximize=True)
    assert matrix[np.arange(6), permutation].sum() == matrix[rows, columns].sum()


def test_an_unknown_order_is_found_and_the_first_classes_are_its_examples():
    permutation = np.array([3, 0, 5, 1, 7, 6, 4, 2])
    found = reordered_error(permuted(permutation))
    assert found.error > 99
    assert found.reordered_error == pytest.approx(10, abs=4)
    assert found.permutation.tolist() == permutation.tolist()
    assert found.sentence.startswith(
        f"The error of {found.error:.2f} % would be {found.reordered_error:.2f} % with the"
    )
    assert found.sentence.endswith(
        "name n00 is answered as name n03; name n01 is answered as name n00; name n02 is answered as name n05."
    )


@pytest.mark.parametrize(
    ("shift", "what"),
    [
        (1, "the network counts classes from 1, or its first output is no class."),
        (-1, "the records count classes from 1."),
    ],
)
def test_labels_shifted_by_one_are_called_that(shift, what):
    found = reordered_error(permuted((np.arange(10) + shift) % 10))
    assert found.sentence.endswith(f"Labels are shifted by one: {what}")


def test_an_order_that_leaves_some_classes_in_place_is_found_too():
    numbers = [str(i) for i in range(30)]
    permutation = [sorted(numbers).index(number) for number in numbers]
    found = reordered_error(permuted(permutation, images=3000))
    assert 50 < found.error < 99
    assert "in another order" in found.sentence


def test_numbers_sorted_as_text_are_recognised_from_either_side():
    numbers = [str(i) for i in range(5, 125)]
    texts = sorted(numbers)
    found = reordered_error(permuted([texts.index(name) for name in numbers], numbers, images=2400))
    assert found.sentence.endswith("The network has them in alphabetical order.")
    found = reordered_error(permuted([numbers.index(name) for name in texts], texts, images=2400))
    assert found.sentence.endswith("The network has them in the order of their numbers.")


def test_an_order_that_the_caller_knows_is_called_by_its_name():
    kit = [f"n{i:02d}" for i in (4, 2, 9, 0, 7, 1, 3, 8, 6, 5)]
    orders = {"the order of the development kit": kit}
    as_network = permuted([kit.index(f"n{i:02d}") for i in range(10)])
    as_records = permuted([int(name[1:]) for name in kit])
    found = reordered_error(as_network, orders)
    assert found.sentence.endswith("The network has them in the order of the development kit.")
    found = reordered_error(as_records, orders)
    assert found.sentence.endswith("The labels of the records are in the order of the development kit.")
    assert "For example" in reordered_error(as_records, {"an order of other classes": ["n00"]}).sentence


def test_a_good_network_is_left_alone():
    found = reordered_error(random_answers(0))
    assert found.sentence == ""
    assert found.reordered_error == pytest.approx(found.error, abs=0.5)


def test_a_bad_network_is_not_flattered_by_a_permutation_that_fits_noise():
    """One image a class: some permutation makes every answer right, and it says nothing of other images."""
    answers = np.roll(np.random.default_rng(0).permutation(50), 1)
    images = answered(np.where(answers == np.arange(50), -1, answers), np.arange(50), 50)
    found = reordered_error(images)
    assert np.mean(found.permutation == images.predicted) > 0.9
    assert found.reordered_error > 90
    assert found.sentence == ""


def test_a_network_that_answers_one_class_or_none_has_no_order():
    for answers in ([0] * 40, [-1] * 40):
        found = reordered_error(answered(answers, [1, 2, 3, 4] * 10, 120))
        assert (found.error, found.sentence) == (100, "")
        assert sorted(found.permutation) == list(range(120))
