"""Predictions, and the errors and intervals computed from them."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax

from resnet.inference import LIKELIEST, Answers, Predictor, answers_of, joined, scores, summary
from resnet.model.network import ResNet


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(2, 12))
def test_top1_and_top5_error_count_the_images_whose_class_is_not_among_the_first_1_and_5(seed, images, classes):
    random = np.random.default_rng(seed)
    logits = random.standard_normal((images, classes)).astype(np.float32)
    labels = random.integers(0, classes, images)
    ranks = [list(np.argsort(-row)).index(label) for row, label in zip(logits, labels, strict=True)]
    found = scores(answers_of(logits, labels))
    assert found["top1_error"] == pytest.approx(100 * np.mean(np.array(ranks) >= 1))
    assert found["top5_error"] == pytest.approx(100 * np.mean(np.array(ranks) >= 5))


@pytest.mark.parametrize("logit", [0.0, np.nan])
def test_equal_logits_and_nan_count_as_wrong(logit):
    found = scores(answers_of(np.full((3, 10), logit, np.float32), np.array([0, 4, 9])))
    assert found["top1_error"] == 100
    assert found["top5_error"] == 100


def test_the_loss_is_the_cross_entropy():
    found = scores(answers_of(np.log(np.array([[0.2, 0.8], [0.5, 0.5]], np.float32)), np.array([1, 0])))
    assert found["loss"] == pytest.approx((-np.log(0.8) - np.log(0.5)) / 2)


def test_the_interval_of_the_published_error_matches_50000_images():
    """24.36 % of 50,000 images: 95 % interval of about 0.37 points either way."""
    labels = np.zeros(50_000, np.int64)
    logits = np.zeros((50_000, 2), np.float32)
    logits[12_180:, 0] = 1
    logits[:12_180, 1] = 1
    found = summary(answers_of(logits, labels))
    assert found["top1_error"] == pytest.approx(24.36)
    assert found["top1_error_interval"] == pytest.approx([23.99, 24.74], abs=0.01)
    assert found["top5_error_interval"][0] == 0


# Ties, any numbers (except subnormal ones, which TensorFlow takes for 0), and what is not a number.
NUMBERS = st.integers(-3, 3).map(float) | st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
LOGITS = NUMBERS | st.sampled_from([np.nan, np.inf, -np.inf])


@st.composite
def logits_labels_and_batch_size(draw) -> tuple[np.ndarray, np.ndarray, int]:
    images, classes = draw(st.integers(1, 30)), draw(st.integers(2, 12))
    logits = draw(arrays(np.float32, (images, classes), elements=LOGITS))
    labels = draw(arrays(np.int32, images, elements=st.integers(0, classes - 1)))
    return logits, labels, draw(st.integers(1, images))


@given(logits_labels_and_batch_size())
@np.errstate(invalid="ignore", over="ignore")
def test_what_is_kept_of_batches_is_exactly_what_follows_from_the_logits_of_all_images(case):
    logits, labels, size = case
    rows = np.arange(len(labels))
    batches = [slice(start, start + size) for start in range(0, len(labels), size)]
    found = joined([answers_of(logits[batch], labels[batch]) for batch in batches])
    log_probabilities = log_softmax(logits.astype(np.float64), 1)
    likeliest = np.argsort(-logits, axis=1, kind="stable")[:, :LIKELIEST]
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_array_equal(found.likeliest, likeliest)
    np.testing.assert_array_equal(found.probabilities, np.exp(log_probabilities)[rows[:, None], likeliest])
    np.testing.assert_array_equal(found.log_likelihoods, log_probabilities[rows, labels])
    own = logits[rows, labels][:, None]
    np.testing.assert_array_equal(found.ranks, (~(logits < own)).sum(1) - 1)
    assert repr(scores(found)["loss"]) == repr(float(-log_probabilities[rows, labels].mean()))


def test_fewer_than_five_classes_are_all_kept():
    found = answers_of(np.array([[1.0, 3.0, 2.0]], np.float32), np.array([0], np.int32))
    assert found.likeliest.tolist() == [[1, 2, 0]]
    assert found.probabilities.sum() == pytest.approx(1)


def peak_of_reducing(batches: int) -> int:
    """Bytes at most while logits of 32 x 2,000 are reduced, this many times."""
    random = np.random.default_rng(0)
    labels = np.arange(32, dtype=np.int32)

    def reduced() -> Answers:
        return answers_of(random.standard_normal((32, 2000), np.float32), labels)

    reduced()  # the first call allocates what stays
    tracemalloc.start()
    try:
        scores(joined([reduced() for _ in range(batches)]))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_memory_of_many_batches_is_that_of_one():
    one_batch = 32 * 2000 * 4
    assert peak_of_reducing(60) - peak_of_reducing(2) < one_batch


def test_predictions_do_not_depend_on_how_the_images_are_batched():
    network = ResNet(20, 4)
    predictor = Predictor(network, tf.distribute.OneDeviceStrategy("/cpu:0"))
    images = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 3), np.uint8)
    whole = predictor(images)
    two_batches = np.concatenate([predictor(images[:7]), predictor(images[7:])])
    np.testing.assert_allclose(two_batches, whole, rtol=1e-5, atol=1e-6)


def test_predictions_leave_no_generated_code_in_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def network(images: tf.Tensor, training: bool) -> tuple[tf.Tensor]:
        return (tf.cast(images[:, 0, 0], tf.float32),)

    Predictor(network, tf.distribute.OneDeviceStrategy("/cpu:0"))(np.zeros((2, 4, 4, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []
