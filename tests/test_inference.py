"""Predictions, and the errors and intervals computed from them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from resnet.inference import Predictor, scores, summary
from resnet.model.network import ResNet


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(2, 12))
def test_top1_and_top5_error_count_the_images_whose_class_is_not_among_the_first_1_and_5(seed, images, classes):
    random = np.random.default_rng(seed)
    logits = random.standard_normal((images, classes)).astype(np.float32)
    labels = random.integers(0, classes, images)
    ranks = [list(np.argsort(-row)).index(label) for row, label in zip(logits, labels, strict=True)]
    found = scores(logits, labels)
    assert found["top1_error"] == pytest.approx(100 * np.mean(np.array(ranks) >= 1))
    assert found["top5_error"] == pytest.approx(100 * np.mean(np.array(ranks) >= 5))


@pytest.mark.parametrize("logit", [0.0, np.nan])
def test_equal_logits_and_nan_count_as_wrong(logit):
    found = scores(np.full((3, 10), logit, np.float32), np.array([0, 4, 9]))
    assert found["top1_error"] == 100
    assert found["top5_error"] == 100


def test_the_loss_is_the_cross_entropy():
    found = scores(np.log(np.array([[0.2, 0.8], [0.5, 0.5]], np.float32)), np.array([1, 0]))
    assert found["loss"] == pytest.approx((-np.log(0.8) - np.log(0.5)) / 2)


def test_the_interval_of_the_published_error_matches_50000_images():
    """24.36 % of 50,000 images: 95 % interval of about 0.37 points either way."""
    labels = np.zeros(50_000, np.int64)
    logits = np.zeros((50_000, 2), np.float32)
    logits[12_180:, 0] = 1
    logits[:12_180, 1] = 1
    found = summary(logits, labels)
    assert found["top1_error"] == pytest.approx(24.36)
    assert found["top1_error_interval"] == pytest.approx([23.99, 24.74], abs=0.01)
    assert found["top5_error_interval"][0] == 0


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
