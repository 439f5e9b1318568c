"""The digits that scikit-learn bundles."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sklearn.datasets import load_digits


@pytest.fixture
def digits(dataset_of):
    return dataset_of("digits")


def names(split) -> list[str]:
    return [split.image(i).filename for i in range(len(split))]


def test_every_scan_is_in_one_split_and_training_gets_four_fifths(digits):
    assert sorted(names(digits.train) + names(digits.validation)) == [f"digit-{i:04d}.png" for i in range(1797)]
    assert len(digits.validation) == pytest.approx(1797 / 5, abs=5)


def test_the_classes_are_the_ten_digits_and_validation_gets_a_fifth_of_each(digits):
    assert [name for name, _ in digits.classes] == list("0123456789")
    in_training, in_validation = np.bincount(digits.train.labels), np.bincount(digits.validation.labels)
    np.testing.assert_allclose(in_validation / (in_training + in_validation), 0.2, atol=0.003)


def test_labels_and_pixels_equal_scikit_learns(digits):
    scans = load_digits()
    for split in (digits.train, digits.validation):
        for i in range(0, len(split), 97):
            image = split.image(i)
            number = int(image.filename[len("digit-") : -len(".png")])
            assert split.labels[i] == scans.target[number]
            pixels = cv2.imdecode(np.frombuffer(image.read(), np.uint8), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(pixels, np.rint(scans.images[number] * 255 / 16))


def test_the_split_depends_only_on_its_seed(digits, dataset_of):
    assert names(dataset_of("digits").validation) == names(digits.validation)
    assert names(dataset_of("digits", name="other").validation) == names(digits.validation)
    assert names(dataset_of("digits", split_seed=1).validation) != names(digits.validation)


def test_the_recipe_sets_the_validation_fraction(dataset_of):
    assert len(dataset_of("digits", validation_fraction=0.5).validation) == pytest.approx(1797 / 2, abs=5)


def test_the_fingerprint_needs_no_folder_of_images(source_of):
    assert source_of("digits").fingerprint() == source_of("digits", split_seed=1).fingerprint()
