"""The loss of an image, against Keras and its formula in NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from resnet.settings import Training
from resnet.training.losses import Loss

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
