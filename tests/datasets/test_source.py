"""Images read from files and archives, and images kept for validation."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from resnet.datasets.source import FileImage, PixelImage, Split, split_off_validation

classes_of_two_or_more = st.lists(st.integers(2, 40), min_size=1, max_size=8)
fractions = st.floats(0, 1, exclude_min=True, exclude_max=True)
seeds = st.integers(0, 2**32 - 1)


def split_of(sizes: list[int], shuffle: int = 0) -> Split:
    labels = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    return Split(np.random.default_rng(shuffle).permutation(labels), lambda i: PixelImage(str(i), np.zeros((1, 1))))


def names(split: Split) -> list[str]:
    return [split.image(i).filename for i in range(len(split))]


@given(content=st.binary(max_size=3000), data=st.data())
def test_an_image_inside_a_file_is_read_byte_for_byte(content, data, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "archive"
    path.write_bytes(content)
    offset = data.draw(st.integers(0, len(content)))
    size = data.draw(st.integers(0, len(content) - offset))
    assert FileImage("image", path, offset, size).read() == content[offset : offset + size]
    assert FileImage("image", path).read() == content


def test_pixels_are_read_as_a_file_that_decodes_to_them():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7), np.uint8)
    encoded = PixelImage("name.png", pixels).read()
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED), pixels)


@given(sizes=classes_of_two_or_more, fraction=fractions, seed=seeds)
def test_each_class_has_an_image_in_both_splits(sizes, fraction, seed):
    train, validation = split_off_validation(split_of(sizes), fraction, seed)
    assert set(train.labels) == set(validation.labels) == set(range(len(sizes)))


@given(sizes=classes_of_two_or_more, fraction=fractions, seed=seeds)
def test_every_image_is_in_one_split_with_its_own_label(sizes, fraction, seed):
    split = split_of(sizes, shuffle=seed)
    train, validation = split_off_validation(split, fraction, seed)
    assert sorted(names(train) + names(validation), key=int) == names(split)
    for images in (train, validation):
        assert [split.labels[int(name)] for name in names(images)] == list(images.labels)


@given(sizes=classes_of_two_or_more, fraction=fractions, seed=seeds)
def test_validation_gets_the_fraction_of_each_class_to_within_one_image(sizes, fraction, seed):
    _, validation = split_off_validation(split_of(sizes), fraction, seed)
    for size, kept in zip(sizes, np.bincount(validation.labels), strict=True):
        assert abs(kept - size * fraction) <= 1


@given(sizes=classes_of_two_or_more, fraction=fractions, seed=seeds)
def test_the_same_seed_keeps_the_same_images_for_validation(sizes, fraction, seed):
    split = split_of(sizes)
    assert names(split_off_validation(split, fraction, seed)[1]) == names(
        split_off_validation(split, fraction, seed)[1]
    )


def test_another_seed_keeps_other_images_for_validation():
    split = split_of([50, 50])
    assert names(split_off_validation(split, 0.2, 0)[1]) != names(split_off_validation(split, 0.2, 1)[1])


def test_validation_images_come_from_the_whole_class():
    one_class = Split(np.zeros(1000, np.int32), split_of([1]).image)
    kept = [int(name) for name in names(split_off_validation(one_class, 0.2, 0)[1])]
    assert 400 < np.mean(kept) < 600


def test_take_returns_the_chosen_images_in_that_order():
    split = split_of([5, 5], shuffle=3)
    taken = split.take(np.array([7, 2, 2]))
    assert names(taken) == ["7", "2", "2"]
    assert list(taken.labels) == [split.labels[7], split.labels[2], split.labels[2]]
