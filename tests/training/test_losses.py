"""The loss of an image, against Keras and its formula in NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from resnet.errors import UserError
from resnet.settings import Training
from resnet.training.losses import Loss, class_weights, first_loss

LABELS = np.array([0, 2, 1, 2], np.int32)
LOGITS = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32) * 3


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_cross_entropy_is_that_of_keras(smoothing):
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing, reduction=None)
    expected = theirs(np.eye(3, dtype=np.float32)[LABELS], LOGITS)
    found = Loss(Training(label_smoothing=smoothing))(LOGITS, LABELS)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_binary_loss_asks_of_each_class_whether_it_is_the_one(smoothing):
    asked = np.eye(3)[LABELS] * (1 - smoothing) + smoothing / 3
    probabilities = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    expected = -(asked * np.log(probabilities) + (1 - asked) * np.log(1 - probabilities)).mean(1)
    found = Loss(Training(loss="binary", label_smoothing=smoothing))(LOGITS, LABELS)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_an_images_loss_is_multiplied_by_the_weight_of_its_class():
    plain, weighted = (np.array(Loss(Training(), weights)(LOGITS, LABELS)) for weights in ([], [1.0, 0.5, 3.0]))
    np.testing.assert_allclose(weighted, plain * [1.0, 3.0, 0.5, 3.0], rtol=1e-6)


def test_balanced_classes_have_the_weights_of_scikit_learn():
    labels = np.repeat([0, 1, 2], [10, 3, 1])
    found = class_weights(Training(class_weights="balanced"), labels, 3)
    assert found == pytest.approx(compute_class_weight("balanced", classes=np.arange(3), y=labels))
    assert np.mean(np.array(found)[labels]) == pytest.approx(1)  # so the learning rate means the same


def test_classes_are_alike_by_default_and_may_have_weights_of_their_own():
    labels = np.array([0, 1, 2])
    assert class_weights(Training(), labels, 3) == []
    assert class_weights(Training(class_weights=[1, 2, 0]), labels, 3) == [1, 2, 0]
    with pytest.raises(UserError, match=r"training.class_weights has 2 numbers, and the records have 3 classes"):
        class_weights(Training(class_weights=[1, 2]), labels, 3)


@pytest.mark.parametrize("kind", ["cross-entropy", "binary"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_first_loss_is_that_of_a_network_that_prefers_no_class(kind, smoothing):
    training = Training(loss=kind, label_smoothing=smoothing)
    found = Loss(training)(np.zeros((4, 3), np.float32), LABELS)
    np.testing.assert_allclose(found, [first_loss(training, 3)] * 4, rtol=1e-5)


def test_the_first_loss_of_trained_weights_or_weighted_classes_is_not_known():
    assert first_loss(Training(start_from="a-run"), 10) is None
    assert first_loss(Training(class_weights="balanced"), 10) is None


SHARES, PARTNERS = np.array([1.0, 0.7, 0.5, 0.1], np.float32), np.array([1, 0, 2, 0], np.int32)


@pytest.mark.parametrize("kind", ["cross-entropy", "binary"])
def test_an_image_with_two_labels_asks_for_both_each_with_its_share(kind):
    asked = SHARES[:, None] * np.eye(3)[LABELS] + (1 - SHARES[:, None]) * np.eye(3)[PARTNERS]
    asked = asked * 0.9 + 0.1 / 3
    theirs = {
        "cross-entropy": keras.losses.CategoricalCrossentropy(from_logits=True, reduction=None),
        "binary": keras.losses.BinaryCrossentropy(from_logits=True, reduction=None),
    }
    found = Loss(Training(loss=kind, label_smoothing=0.1)).of_mixed(LOGITS, LABELS, PARTNERS, SHARES)
    np.testing.assert_allclose(found, theirs[kind](asked.astype(np.float32), LOGITS), rtol=1e-5)


def test_with_a_threshold_each_label_whose_share_is_greater_is_asked_for_with_probability_1():
    asked = np.array([[1, 0, 0], [1, 0, 1], [0, 1, 1], [1, 0, 0]], np.float32)  # 0.1 of the last one's own label
    theirs = keras.losses.BinaryCrossentropy(from_logits=True, reduction=None)(asked, LOGITS)
    loss = Loss(Training(loss="binary", binary_threshold=0.2))
    np.testing.assert_allclose(loss.of_mixed(LOGITS, LABELS, PARTNERS, SHARES), theirs, rtol=1e-5)
    plain = Loss(Training(loss="binary"))
    np.testing.assert_allclose(loss(LOGITS, LABELS), plain(LOGITS, LABELS))


@pytest.mark.parametrize("threshold", [0.0, 0.2])
def test_two_labels_share_the_weights_of_their_classes(threshold):
    training = Training(loss="binary", binary_threshold=threshold)
    weights, ones = [1.0, 0.5, 3.0], np.ones(4, np.float32)
    same = Loss(training, weights).of_mixed(LOGITS, LABELS, LABELS, 0.6 * ones)
    np.testing.assert_allclose(same, Loss(training, weights)(LOGITS, LABELS), rtol=1e-5)
